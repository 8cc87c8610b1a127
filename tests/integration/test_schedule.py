"""What happens by itself, by the clock."""

from integration.deployment import Deployment, Json, Shop, User, ok, until


def test_store_is_synced_again_when_its_interval_is_over(user: User, left_alone: tuple[Shop, Json, int]) -> None:
    shop, store, changed = left_alone

    def arrived() -> bool:
        row = ok(user.http.get(f"/stores/{store['id']}/products/{changed}"))
        return bool(row["price"] == "42.42")

    until(arrived, "the change did not arrive by the schedule", seconds=150)
    until(lambda: user.agrees(store, shop), "the store is not in sync")
    runs = user.all(f"/stores/{store['id']}/syncs")
    assert {run["trigger"] for run in runs} == {"connect", "schedule"}
    assert user.all(f"/stores/{store['id']}/deliveries") == []


def test_daily_renewal_of_keys_has_nothing_to_do(stack: Deployment) -> None:
    resource = stack.aws("cloudformation").describe_stack_resources(
        StackName=stack.endpoints["stack"], LogicalResourceId="RotateKeysFunction"
    )["StackResources"][0]

    answer = stack.aws("lambda").invoke(FunctionName=resource["PhysicalResourceId"], Payload=b"{}")

    assert "FunctionError" not in answer
