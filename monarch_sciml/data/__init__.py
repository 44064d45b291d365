"""Readers, writers and data modules; one file a format."""

from monarch_sciml.data.field_files import describe_fields as describe_fields
from monarch_sciml.data.field_files import open_fields as open_fields
from monarch_sciml.data.field_source import FieldLayout as FieldLayout
from monarch_sciml.data.field_source import FieldSource as FieldSource
from monarch_sciml.data.field_writer import FieldWriter as FieldWriter
from monarch_sciml.data.fields import FieldFile as FieldFile
from monarch_sciml.data.fno_mat import FnoMatFile as FnoMatFile
from monarch_sciml.data.generate import generate_navier_stokes as generate_navier_stokes
from monarch_sciml.data.neuralop_pt import NeuralopPtFile as NeuralopPtFile
from monarch_sciml.data.normalization import UnitGaussian as UnitGaussian
from monarch_sciml.data.pde import PairModule as PairModule
from monarch_sciml.data.pde import TrajectoryModule as TrajectoryModule
from monarch_sciml.data.spec import DataModule as DataModule
from monarch_sciml.data.spec import FieldSpec as FieldSpec
from monarch_sciml.data.spec import ScanSpec as ScanSpec
