"""POST /authorizations: begin to connect a store through its platform's own screens."""

from aws_lambda_powertools.event_handler import Response

from shared import api, authorizations, clock, schemas

app = api.resolver()


@app.post("/authorizations", **api.describes(schemas.AuthorizationView, 201, "Start an authorisation"))
def start_authorization(new: schemas.NewAuthorization) -> Response[str]:
    return api.reply(authorizations.start(new, api.caller(app), clock.now()), 201)


lambda_handler = api.entrypoint(app, api.Once(int(authorizations.LIFE.total_seconds())))
