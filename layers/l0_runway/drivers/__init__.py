"""Who looks at the environment: a module or package each. Drivers never import each other."""
