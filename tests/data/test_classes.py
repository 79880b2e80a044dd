"""Tables of classes, checked by what their order must be."""

from keras_dup.data import _classes


def test_numbers_of_pascal_context_rise_as_its_alphabetical_list_does():
    numbers = _classes.CONTEXT_NUMBERS
    assert set(numbers) == set(_classes.CONTEXT[1:]) and len(numbers) == 59
    in_order = [numbers[name] for name in sorted(numbers)]
    assert in_order == sorted(set(in_order))
    assert in_order[0] > 0 and in_order[-1] <= 459
