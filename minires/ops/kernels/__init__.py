"""How the fast forms of the ops walk through memory."""
