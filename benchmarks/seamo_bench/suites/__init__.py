"""What is run, as data: suites, studies, and the published numbers that they are held against."""
