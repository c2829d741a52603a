"""How the image is made. A tower of its own: it copies appliance/ and hw/, never imports them."""
