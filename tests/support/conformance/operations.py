"""The operations of both services as botocore's own models have them, so that none can be forgotten."""

import functools
from dataclasses import dataclass

import botocore.session
from botocore import xform_name

from support import clients

SERVICES = {"identity": "chime-sdk-identity", "messaging": "chime-sdk-messaging"}


@functools.cache
def _model(service):
    return botocore.session.get_session().get_service_model(SERVICES[service])


@dataclass(frozen=True, order=True)
class Operation:
    """One operation of one service."""

    service: str
    name: str

    def __str__(self):
        return f"{self.service} {self.name}"

    @property
    def model(self):
        return _model(self.service).operation_model(self.name)

    @property
    def input(self):
        """The shape of the input, or None."""
        return self.model.input_shape

    @property
    def status(self):
        """The status of a call that succeeds."""
        return self.model.http.get("responseCode", 200)

    @property
    def takes_bearer(self):
        return self.input is not None and "ChimeBearer" in self.input.members

    @property
    def needs_bearer(self):
        return self.takes_bearer and "ChimeBearer" in self.input.required_members

    def models(self, exception):
        return any(shape.name == exception for shape in self.model.error_shapes)

    def call(self, server, given):
        """Makes the call with boto3, which sends the input as it is given, valid or not."""
        client = getattr(clients, self.service)(server, checked=False)
        return getattr(client, xform_name(self.name))(**given)


OPERATIONS = [Operation(service, name) for service in SERVICES for name in _model(service).operation_names]


def location(shape):
    """Where a member of an input travels: uri, querystring, header, or body."""
    return shape.serialization.get("location", "body")
