"""Display of results: titles, order, colours and decimals; terminal tables; image grids."""
