"""How numbers and pictures are shown: titles, order, colours, decimals; terminal tables; image grids."""
