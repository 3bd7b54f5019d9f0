from .errors import TrainingError
from .examples.example import Example, Examples
from .examples.read import read_examples
from .outputs.resume import Trained
from .recipe import Phase, Recipe, Source, read_recipe
from .run import train

__all__ = ["Example", "Examples", "Phase", "Recipe", "Source", "Trained", "TrainingError", "read_examples", "read_recipe", "train"]
