"""Pictures the service draws itself with NumPy and Pillow: fast enough to be made for each request."""
