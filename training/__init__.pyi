from .errors import TrainingError
from .examples import Example, Examples
from .read_examples import read_examples
from .recipe import Phase, Recipe, Source, read_recipe
from .result import Trained
from .run import train

__all__ = ["Example", "Examples", "Phase", "Recipe", "Source", "Trained", "TrainingError", "read_examples", "read_recipe", "train"]
