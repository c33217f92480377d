"""Rules for the objects of one rendered deployment that no schema has: safe pods, and parts that fit together."""

import re

import yaml

# What a user of the manifests makes.
SECRETS = ("registry-bucket", "registry-tls", "registry-users")
GIVEN = frozenset({("Secret", name) for name in SECRETS} | {("ConfigMap", "authority")})
WORKLOADS = frozenset({"Deployment", "StatefulSet"})
# Of the server, for what it received before the end of the drain.
TIDYING = 1
DRIVERS = frozenset({"s3", "gcs", "azure"})
ALIVE, HEALTH = "/", "/debug/health"


def faults(objects, given=GIVEN):
    """Each fault of a set of objects."""
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in objects]
    yield from (f"{kind} {name} is there twice" for kind, name in set(names) if names.count((kind, name)) > 1)
    workloads = [thing for thing in objects if thing["kind"] in WORKLOADS]
    if len(workloads) != 1:
        yield f"it has {len(workloads)} workloads, and not one"
        return
    (workload,) = workloads
    for pod in [workload["spec"]["template"]["spec"], *(thing["spec"] for thing in objects if thing["kind"] == "Pod")]:
        yield from unsafe(pod)
    yield from dangling(workload, objects, given)
    yield from unprobed(workload)
    yield from unselected(workload, objects)
    yield from cut_short(workload, configuration(objects))
    yield from (unavailable if workload["kind"] == "Deployment" else shared)(workload, objects)


def configuration(objects):
    """The configuration of the server."""
    (text,) = (thing["data"]["config.yml"] for thing in objects if "config.yml" in (thing.get("data") or {}))
    return yaml.safe_load(text)


def variables(objects):
    """The variables of the container that are in the manifests."""
    maps = {thing["metadata"]["name"]: thing["data"] for thing in objects if thing["kind"] == "ConfigMap"}
    (workload,) = (thing for thing in objects if thing["kind"] in WORKLOADS)
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    names = [one["configMapRef"]["name"] for one in container.get("envFrom", []) if "configMapRef" in one]
    found = {key: value for name in names for key, value in maps[name].items()}
    return found | {one["name"]: one["value"] for one in container.get("env", []) if "value" in one}


def unsafe(pod):
    """What the Pod Security Standard `restricted` refuses, and more."""
    context = pod.get("securityContext", {})
    if not context.get("runAsNonRoot") or not context.get("runAsUser"):
        yield "the pod may run as root"
    if context.get("seccompProfile") != {"type": "RuntimeDefault"}:
        yield "the pod may use every system call"
    if pod.get("automountServiceAccountToken") is not False:
        yield "the pod has a token for the API of the cluster"
    if pod.get("enableServiceLinks") is not False:
        yield "services set variables of the server"
    for container in pod["containers"]:
        own = container.get("securityContext", {})
        if own.get("allowPrivilegeEscalation") is not False or own.get("capabilities") != {"drop": ["ALL"]}:
            yield f"{container['name']} may gain privileges"
        if not own.get("readOnlyRootFilesystem"):
            yield f"{container['name']} can change its own files"


def dangling(workload, objects, given):
    """Names of volumes, objects and ports that nothing has."""
    pod = workload["spec"]["template"]["spec"]
    made = {(thing["kind"], thing["metadata"]["name"]) for thing in objects}
    volumes = {volume["name"] for volume in pod.get("volumes", [])}
    volumes |= {claim["metadata"]["name"] for claim in workload["spec"].get("volumeClaimTemplates", [])}
    wanted = []
    for volume in pod.get("volumes", []):
        wanted += [("ConfigMap", volume["configMap"]["name"])] if "configMap" in volume else []
        wanted += [("Secret", volume["secret"]["secretName"])] if "secret" in volume else []
    for container in pod["containers"]:
        mounted = {mount["name"] for mount in container.get("volumeMounts", [])}
        yield from (f"the volume {name} is mounted and not there, or the reverse" for name in mounted ^ volumes)
        for source in container.get("envFrom", []):
            wanted += [("ConfigMap", source["configMapRef"]["name"])] if "configMapRef" in source else []
            wanted += [("Secret", source["secretRef"]["name"])] if "secretRef" in source else []
        ports = {port["name"] for port in container["ports"]}
        for name in (key for key in container if key.endswith("Probe")):
            if container[name]["httpGet"]["port"] not in ports:
                yield f"the port of {name} has no name in the container"
        for service in (thing for thing in objects if thing["kind"] == "Service"):
            yield from (
                f"the service {service['metadata']['name']} has a port that no container has"
                for port in service["spec"]["ports"]
                if port["targetPort"] not in ports
            )
    wanted += [("ServiceAccount", pod.get("serviceAccountName", "default"))]
    if workload["kind"] == "StatefulSet":
        wanted += [("Service", workload["spec"]["serviceName"])]
    for kind, name in wanted:
        if (kind, name) not in made | given | {("ServiceAccount", "default")}:
            yield f"there is no {kind} {name}"


def probes(workload):
    """The path and the port of each probe of the server, by its name."""
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    gets = {name: container[name]["httpGet"] for name in sorted(container) if name.endswith("Probe")}
    return {name: (get["path"], get["port"]) for name, get in gets.items()}


def unprobed(workload):
    found = probes(workload)
    if len(found) < 3:
        yield f"it has no probe but {sorted(found)}"
    # An outage of the storage must not restart what could serve again after it.
    for name in ("startupProbe", "livenessProbe"):
        if found.get(name, (ALIVE,))[0] != ALIVE:
            yield f"{name} depends on more than the process"
    (container,) = workload["spec"]["template"]["spec"]["containers"]
    resources = container.get("resources", {})
    if not {"cpu", "memory"} <= resources.get("requests", {}).keys() or "memory" not in resources.get("limits", {}):
        yield "it asks for no resources, or may use all memory of the node"


def unselected(workload, objects):
    """Selectors that do not find the pods, or find others."""
    labels = workload["spec"]["template"]["metadata"]["labels"]
    selectors = {f"{workload['kind']} itself": workload["spec"]["selector"]["matchLabels"]}
    for thing in objects:
        spec, name = thing.get("spec", {}), f"{thing['kind']} {thing['metadata']['name']}"
        if thing["kind"] == "Service":
            selectors[name] = spec["selector"]
        elif thing["kind"] == "PodDisruptionBudget":
            selectors[name] = spec["selector"]["matchLabels"]
        elif thing["kind"] == "NetworkPolicy":
            selectors[name] = spec["podSelector"]["matchLabels"]
        elif thing["kind"] == "ServiceMonitor":
            services = [other for other in objects if other["kind"] == "Service"]
            ports = [
                {port["name"] for port in service["spec"]["ports"]}
                for service in services
                if matches(spec["selector"]["matchLabels"], service["metadata"]["labels"])
            ]
            if ports != [{endpoint["port"] for endpoint in spec["endpoints"]}]:
                yield f"{name} does not find exactly the service with the metrics"
    for spread in workload["spec"]["template"]["spec"].get("topologySpreadConstraints", []):
        selectors[f"the spread over {spread['topologyKey']}"] = spread["labelSelector"]["matchLabels"]
    for name, selector in selectors.items():
        if not matches(selector, labels):
            yield f"{name} does not select the pods"
    for pod in (thing for thing in objects if thing["kind"] == "Pod"):
        own = pod["metadata"]["labels"]
        yield from (f"{name} selects a pod of a test" for name, selector in selectors.items() if matches(selector, own))


def matches(selector, labels):
    return bool(selector) and selector.items() <= labels.items()


def cut_short(workload, config):
    """A drain that takes longer than the pod has."""
    pod = workload["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    before = container.get("lifecycle", {}).get("preStop", {}).get("sleep", {}).get("seconds", 0)
    drain = seconds(config["http"]["draintimeout"])
    if before + drain + TIDYING >= pod.get("terminationGracePeriodSeconds", 30):
        yield f"the pod is killed before the drain of {drain} s after {before} s has ended"


def seconds(text):
    """A duration of the configuration."""
    return sum(int(number) * {"s": 1, "m": 60, "h": 3600}[unit] for number, unit in re.findall(r"(\d+)([smh])", text))


def shared(workload, objects):
    """What must not be where one process has the directory."""
    if workload["spec"]["replicas"] != 1:
        yield "several pods would write one directory"
    if any(thing["kind"] == "PodDisruptionBudget" for thing in objects):
        yield "a budget for one pod keeps its node from being drained"


def unavailable(workload, objects):
    """What replicas need to replace each other."""
    spec = workload["spec"]
    (container,) = spec["template"]["spec"]["containers"]
    if probes(workload).get("readinessProbe", ("",))[0] != HEALTH:
        yield "a replica without its bucket gets requests"
    if not container.get("lifecycle", {}).get("preStop", {}).get("sleep"):
        yield "a pod stops before the balancer knows"
    config = configuration(objects)
    (driver,) = config["storage"].keys() & DRIVERS
    if config["storage"][driver].get("replicas") == 1:
        if spec["replicas"] != 1 or spec.get("strategy") != {"type": "Recreate"}:
            yield "a second replica would be refused, also during an update"
        return
    rolling = spec.get("strategy", {}).get("rollingUpdate", {})
    if spec["replicas"] < 2 or rolling.get("maxUnavailable") != 0:
        yield "an update takes requests away"
    if not any(thing["kind"] == "PodDisruptionBudget" for thing in objects):
        yield "all nodes may be drained at once"
    spread = {one["topologyKey"] for one in spec["template"]["spec"].get("topologySpreadConstraints", [])}
    if spread != {"kubernetes.io/hostname", "topology.kubernetes.io/zone"}:
        yield "all replicas may be on one node or in one zone"
