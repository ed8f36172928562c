"""The finder of the retina as a small graph: made once, run by Python, browsers and phones."""
