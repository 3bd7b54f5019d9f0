import dataclasses

from benchmarks import objectives
from training import Phase, Recipe, read_recipe
from training.objectives.registry import OF_ROWS, OF_WHOLE, check_objectives

RUN = dict.fromkeys(objectives.KEYS, 10.0) | {"seconds a step": 2.0}


def test_every_set_is_valid_and_different_and_together_they_cover_all_objectives():
    sets = objectives.objective_sets(read_recipe(objectives.RECIPE).phases[1].objectives)
    shipped = read_recipe(objectives.RECIPE)
    for chosen in sets.values():
        phase = dataclasses.replace(shipped.phases[1], objectives=chosen)
        check_objectives(dataclasses.replace(shipped, image_teacher="any", phases=(phase,)))
    assert len({tuple(sorted(chosen.items())) for chosen in sets.values()}) == len(sets)
    of_another_checkpoint = {"image_distillation", "relational_distillation"}
    assert set().union(*sets.values()) == {*OF_ROWS, *OF_WHOLE} - of_another_checkpoint


def test_the_table_is_sorted_best_first_with_means_and_ranges():
    good = [RUN | {"text to picture R@1": value} for value in (20.0, 23.0)]
    page = objectives.page({"plain": [RUN, RUN | {"seconds a step": 4.0}], "good": good}, Recipe(phases=(Phase(steps=7, batch=9),)))
    rows = [line for line in page.splitlines() if line.startswith("| ")][1:]
    assert rows[0] == "| good | 21.5 (20.0-23.0) | 10.0 | 10.0 | 10.0 (10.0-10.0) | 10.0 | 10.0 | 1.00 |"
    assert rows[1].endswith("| 1.50 |")
    assert "after 7 steps of 9 pictures" in page


def test_the_shipped_recipe_provides_the_inputs_of_its_objectives():
    check_objectives(read_recipe(objectives.RECIPE))
