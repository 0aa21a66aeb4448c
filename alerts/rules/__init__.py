"""The rule catalogue, one module for each family; pure functions of aligned inputs and time."""
