"""Objects of Kubernetes, validated against the OpenAPI documents of its releases.

The documents are in the Go module of Kubernetes, and that of a ServiceMonitor in the module of its operator. A field
that a document does not have is a fault, as with `kubectl --validate=strict`.
"""

import json
import subprocess
from pathlib import Path

import jsonschema
import yaml

# The oldest release that the manifests are for, which the chart declares, and the newest.
RELEASES = ("v1.30.14", "v1.37.2")
MONITORING = ("github.com/prometheus-operator/prometheus-operator", "v0.85.0")
MONITORS = "example/prometheus-operator-crd/monitoring.coreos.com_servicemonitors.yaml"


class Loader(yaml.SafeLoader):
    """Refuses a key that a mapping has twice."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=deep) for key, _ in node.value]
        for key in keys:
            if keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"the key `{key}` is there twice", node.start_mark)
        return super().construct_mapping(node, deep)


def documents(text):
    """The objects of a rendered text."""
    return [document for document in yaml.load_all(text, Loader) if document is not None]


def module(name, version):
    """The folder of a Go module."""
    command = ["go", "mod", "download", "-json", f"{name}@{version}"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    return Path(json.loads(done.stdout)["Dir"])


def schemas():
    """The schemas of each release."""
    monitors = yaml.safe_load((module(*MONITORING) / MONITORS).read_text())
    for release in RELEASES:
        found = Schemas(module("k8s.io/kubernetes", release) / "api/openapi-spec/v3")
        found.add_resource(monitors)
        yield release, found


class Schemas:
    """The strict schemas of one release, by version and kind."""

    def __init__(self, folder=None):
        self.folder = folder
        self.groups = {}
        self.validators = {}

    def add_resource(self, definition):
        """Adds the resource of a CustomResourceDefinition."""
        spec = definition["spec"]
        for version in spec["versions"]:
            schema = version["schema"]["openAPIV3Schema"]
            schema["properties"]["metadata"] = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}
            kind = (f"{spec['group']}/{version['name']}", spec["names"]["kind"])
            self.validators[kind] = jsonschema.Draft4Validator(strict(schema))

    def add_document(self, version, document):
        """Adds the kinds of one version of the API, as `apps/v1`."""
        document = strict(document)
        self.groups[version] = document
        group, _, number = version.rpartition("/")
        for name, schema in document["components"]["schemas"].items():
            for kind in schema.get("x-kubernetes-group-version-kind", []):
                if (kind["group"], kind["version"]) == (group, number):
                    rooted = {**document, "$ref": f"#/components/schemas/{name}"}
                    self.validators[version, kind["kind"]] = jsonschema.Draft4Validator(rooted)

    def validator(self, version, kind):
        if (version, kind) not in self.validators and version not in self.groups and self.folder:
            path = self.folder / f"api{'s' if '/' in version else ''}__{version.replace('/', '__')}_openapi.json"
            if path.is_file():
                self.add_document(version, json.loads(path.read_text()))
        return self.validators.get((version, kind))

    def problems(self, thing):
        """Each fault of an object, with its place."""
        version, kind = thing.get("apiVersion"), thing.get("kind")
        if not version or not kind:
            return ["it has no `apiVersion` or no `kind`"]
        validator = self.validator(version, kind)
        if not validator:
            return [f"there is no {kind} in {version}"]
        return [place(error) for error in validator.iter_errors(thing)]


def place(error):
    path = ".".join(str(part) for part in error.absolute_path) or "the object"
    return f"{path}: {error.message[:300]}"


def strict(schema):
    """The schema without room for fields that it does not name."""
    if isinstance(schema, list):
        return [strict(item) for item in schema]
    if not isinstance(schema, dict):
        return schema
    made = {key: strict(value) for key, value in schema.items()}
    fields = schema.get("properties")
    if isinstance(fields, dict) and "additionalProperties" not in schema and "$ref" not in fields:
        if schema.get("type") == "object" and not schema.get("x-kubernetes-preserve-unknown-fields"):
            made["additionalProperties"] = False
    if schema.get("x-kubernetes-int-or-string"):
        made.pop("type", None)
        made.setdefault("anyOf", [{"type": "integer"}, {"type": "string"}])
    return made
