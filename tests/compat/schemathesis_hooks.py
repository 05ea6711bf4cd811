"""What schemathesis has to be told of media types, by SCHEMATHESIS_HOOKS."""

import schemathesis


@schemathesis.deserializer("text/plain")
def text(_ctx, response):
    """Text is itself, so that a link can take the name of a backup from an answer."""
    return response.content.decode()
