"""Readers, writers and data modules of fields and scans, with one file for each format."""

from typing import Any

from monarch_sciml._moved import moved
from monarch_sciml.data.fields.formats.arrays import ArrayFields as ArrayFields
from monarch_sciml.data.fields.formats.monarch_h5 import FieldFile as FieldFile
from monarch_sciml.data.fields.formats.pdebench import PDEBenchFile as PDEBenchFile
from monarch_sciml.data.fields.formats.the_well import TheWellFile as TheWellFile
from monarch_sciml.data.fields.pack import pack as pack
from monarch_sciml.data.fields.pairs import PairModule as PairModule
from monarch_sciml.data.fields.recognise import describe_fields as describe_fields
from monarch_sciml.data.fields.recognise import open_fields as open_fields
from monarch_sciml.data.fields.source import FieldLayout as FieldLayout
from monarch_sciml.data.fields.source import FieldSource as FieldSource
from monarch_sciml.data.fields.trajectories import TrajectoryModule as TrajectoryModule
from monarch_sciml.data.fields.writer import FieldWriter as FieldWriter
from monarch_sciml.data.generators import (
    generate_advection_diffusion as generate_advection_diffusion,
)
from monarch_sciml.data.generators import generate_burgers_neumann as generate_burgers_neumann
from monarch_sciml.data.generators import generate_burgers_periodic as generate_burgers_periodic
from monarch_sciml.data.generators import generate_darcy as generate_darcy
from monarch_sciml.data.generators import generate_darcy_sources as generate_darcy_sources
from monarch_sciml.data.generators import generate_diffusion_reaction as generate_diffusion_reaction
from monarch_sciml.data.generators import generate_heat_neumann as generate_heat_neumann
from monarch_sciml.data.generators import generate_lid_driven_cavity as generate_lid_driven_cavity
from monarch_sciml.data.generators import generate_navier_stokes as generate_navier_stokes
from monarch_sciml.data.generators import generate_shallow_water as generate_shallow_water
from monarch_sciml.data.generators import generate_stokes_second as generate_stokes_second
from monarch_sciml.data.generators import generate_wave as generate_wave
from monarch_sciml.data.generators import generate_wave_in_medium as generate_wave_in_medium
from monarch_sciml.data.generators.generate import Problem as Problem
from monarch_sciml.data.generators.generate import generate as generate
from monarch_sciml.data.generators.options import SetOptions as SetOptions
from monarch_sciml.data.generators.problem import Batch as Batch
from monarch_sciml.data.generators.problem import FieldProblem as FieldProblem
from monarch_sciml.data.images.nifti import write_nifti as write_nifti
from monarch_sciml.data.images.png import write_png as write_png
from monarch_sciml.data.images.write import write_image as write_image
from monarch_sciml.data.normalization import UnitGaussian as UnitGaussian
from monarch_sciml.data.phantom import generate_scans as generate_scans
from monarch_sciml.data.phantom import simulate_scan as simulate_scan
from monarch_sciml.data.scans.encoding_files import read_encoding as read_encoding
from monarch_sciml.data.scans.encoding_files import write_encoding as write_encoding
from monarch_sciml.data.scans.formats.bart import read_bart as read_bart
from monarch_sciml.data.scans.formats.bart import read_cfl as read_cfl
from monarch_sciml.data.scans.formats.bart import write_bart as write_bart
from monarch_sciml.data.scans.formats.bart import write_cfl as write_cfl
from monarch_sciml.data.scans.formats.calgary_campinas import (
    read_calgary_campinas as read_calgary_campinas,
)
from monarch_sciml.data.scans.formats.fastmri import read_fastmri as read_fastmri
from monarch_sciml.data.scans.formats.fastmri import read_slice as read_slice
from monarch_sciml.data.scans.formats.fastmri import write_fastmri as write_fastmri
from monarch_sciml.data.scans.formats.m4raw import read_m4raw as read_m4raw
from monarch_sciml.data.scans.formats.skm_tea import read_skm_tea as read_skm_tea
from monarch_sciml.data.scans.formats.skm_tea import read_skm_tea_mask as read_skm_tea_mask
from monarch_sciml.data.scans.map_files import read_coil_maps as read_coil_maps
from monarch_sciml.data.scans.mask_files import StoredMask as StoredMask
from monarch_sciml.data.scans.module import ScanModule as ScanModule
from monarch_sciml.data.scans.raw.ismrmrd import read_ismrmrd as read_ismrmrd
from monarch_sciml.data.scans.raw.twix import read_twix as read_twix
from monarch_sciml.data.scans.read import describe_scan as describe_scan
from monarch_sciml.data.scans.read import read_scan as read_scan
from monarch_sciml.data.scans.recognise import recognise as recognise
from monarch_sciml.data.scans.samples import ScanDataset as ScanDataset
from monarch_sciml.data.scans.scan import Scan as Scan
from monarch_sciml.data.scans.sizes import SizeRules as SizeRules
from monarch_sciml.data.scans.source import open_scan as open_scan
from monarch_sciml.data.scans.source import scan_files as scan_files
from monarch_sciml.data.spec import DataModule as DataModule
from monarch_sciml.data.spec import FieldSpec as FieldSpec
from monarch_sciml.data.spec import ScanSpec as ScanSpec
from monarch_sciml.data.spec import TextSpec as TextSpec
from monarch_sciml.data.text import TextModule as TextModule


def __getattr__(name: str) -> Any:
    """Return an object that was a public name of this package in earlier versions."""
    return moved(__name__, name)
