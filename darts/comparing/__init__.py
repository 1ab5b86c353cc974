"""What ``darts.compare`` consists of: its runs, their order, and the page that it ends with."""
