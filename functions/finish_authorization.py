"""GET and POST /authorizations/{platform}/callback: the platform, or the seller's browser, comes back."""

from html import escape

from aws_lambda_powertools.event_handler import Response

from shared import api, authorizations, clock, egress, problems
from shared.platforms.base import PlatformName

app = api.resolver()

_ADVICE = "To try again, go back to where you began and start again."


@app.post("/authorizations/WOO_COMMERCE/callback", **api.describes_page("A WooCommerce store sends its keys"))
def receive_grant() -> Response[str]:
    body = (app.current_event.body or "").encode()
    http = egress.client().within(egress.CALLER_WAITS)
    authorizations.finish(PlatformName.WOO_COMMERCE, body, http, clock.now())
    # WooCommerce deletes the key again unless the answer is exactly 200
    return api.page("Connected.")


@app.get("/authorizations/<platform>/callback", **api.describes_page("The seller's browser comes back"))
def finish_authorization(platform: PlatformName) -> Response[str]:
    http = egress.client().within(egress.CALLER_WAITS)
    try:
        ending = authorizations.come_back(platform, api.query(app), http, clock.now())
    except problems.Problem as problem:
        text = f"<h1>{escape(problem.title)}</h1><p>{escape(problem.detail)}</p><p>{_ADVICE}</p>"
        return api.page(text, problem.status)
    if ending.store is None:
        return api.page(_choice(ending))
    return api.page("<h1>Your store is connected</h1><p>You can close this page.</p>")


def _choice(ending: authorizations.Ending) -> str:
    """One button for each store that the seller may choose; a form, since nothing follows those unasked."""
    buttons = "".join(
        f'<p><button name="{authorizations.CHOICE}" value="{escape(each.store_id)}">{escape(each.name)}</button></p>'
        for each in ending.choices
    )
    state = f'<input type="hidden" name="state" value="{escape(ending.state)}">'
    return f"<h1>Which store do you want to connect?</h1><form>{state}{buttons}</form>"


lambda_handler = api.entrypoint(app)
