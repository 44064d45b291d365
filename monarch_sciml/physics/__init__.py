"""Measurement models: MRI sampling, coils and the SENSE operator."""
