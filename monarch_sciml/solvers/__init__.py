"""Reference solvers: PDEs that generate data sets, conventional MRI reconstruction."""
