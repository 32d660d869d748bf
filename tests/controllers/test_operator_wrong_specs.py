"""What the CRDs take although the CLI refuses it, the operator reports: the table of tests/golden/wrong-input."""

from operator_world import OperatorWorld, until
from virtual_kube import run_virtually
from wrong_input import plain_path, table

from outrider.sim.world import NAMESPACE_NAME

REPORTED = {
    f"wrong-{number}": (sentence, row)
    for number, (sentence, row) in enumerate(table().items())
    if row.cluster == () and row.because.endswith("the operator says so in the status")
}
"""Name of the object to the row that it is."""


def test_the_status_blames_the_fields_that_the_cli_blames_where_the_crds_take_the_spec() -> None:
    async def story() -> None:
        async with OperatorWorld() as world:
            world.start_operator()
            for name, (_, row) in REPORTED.items():
                assert row.body is not None
                await world.install(row.body, name=name, namespace=NAMESPACE_NAME)
            await until(lambda: all(world.condition("SpecValid", name).status != "Unknown" for name in REPORTED))
            told = {sentence: world.condition("SpecValid", name) for name, (sentence, _) in REPORTED.items()}
            assert {sentence: each.reason for sentence, each in told.items()} == {
                sentence: "InvalidSpec" for sentence, _ in REPORTED.values()
            }
            silent = [
                f"{sentence}: {path}"
                for sentence, row in REPORTED.values()
                for path in row.paths
                if f"{path}: " not in plain_path(told[sentence].message)
            ]
            assert silent == []
            assert all(world.pods(name) == [] for name in REPORTED)

    run_virtually(story)


def test_there_are_such_rows_and_each_says_where() -> None:
    assert REPORTED
    assert all(row.paths for _, row in REPORTED.values())
