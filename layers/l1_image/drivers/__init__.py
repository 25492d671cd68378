"""Who makes templates: one module or package a backend. Drivers never import each other."""
