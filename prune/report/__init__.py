"""What people look at: the Excel workbook, pictures, charts and tables."""
