#!/usr/bin/env python3
"""Shows that each check of this folder can fail."""

import copy
import sys
import tempfile
import unittest
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))
sys.dont_write_bytecode = True

import cancel_safety
import circles
import comments
import compose
import crates
import dependencies
import deployments
import features
import kubernetes
import listing
import manifests
import minimal_versions
import newcomer
import packages
import public_types
import semver
import shared_types


class Dependencies(unittest.TestCase):
    def test_a_licence_is_met_by_allowed_ones_alone(self):
        for expression, met in [
            ("MIT", True),
            ("MIT OR GPL-3.0", True),
            ("MIT AND GPL-3.0", False),
            ("GPL-3.0", False),
        ]:
            self.assertEqual(dependencies.satisfied(expression, {"MIT"}), met, expression)


class Newcomer(unittest.TestCase):
    def test_a_first_test_that_is_long_or_missing_is_refused(self):
        self.assertIsNone(newcomer.too_long(["a\n" * 10 + "\n"]))
        self.assertIsNotNone(newcomer.too_long(["a\n" * 11]))
        self.assertIsNotNone(newcomer.too_long([]))

    def test_the_blocks_of_one_language_are_found(self):
        text = "```sh\ncargo new a\n```\n```rust\nfn a() {}\n```\n```rust\nfn b() {}\n```\n"
        self.assertEqual(newcomer.blocks(text, "rust"), ["fn a() {}\n", "fn b() {}\n"])

    def test_the_crate_of_this_workspace_is_used(self):
        self.assertEqual(newcomer.here(["add", "registry-test"])[1:], ["--path", str(newcomer.CRATE)])
        self.assertEqual(newcomer.here(["add", "oci-client"]), ["add", "oci-client"])


class Crates(unittest.TestCase):
    RULES = {
        "core": crates.Rule(never=frozenset({"runtime"}), packages=1, packages_with={"tls": 2}),
        "adapter": crates.Rule(may_use=frozenset({"core"})),
    }

    @staticmethod
    def member(name, *needs, kind=None):
        return {"name": name, "dependencies": [{"name": need, "kind": kind} for need in needs]}

    def test_an_arrow_that_is_not_in_the_list_is_refused(self):
        members = [self.member("core", "adapter"), self.member("adapter", "core")]
        self.assertEqual(list(crates.arrows(members, self.RULES)), ["core depends on adapter, and may not"])

    def test_a_crate_that_is_not_in_the_list_is_refused(self):
        members = [self.member("core"), self.member("adapter"), self.member("stranger")]
        self.assertEqual(len(list(crates.arrows(members, self.RULES))), 1)
        self.assertEqual(len(list(crates.arrows(members[:1], self.RULES))), 1)

    def test_tests_may_use_other_crates_but_not_axum(self):
        members = [self.member("core", "adapter", kind="dev"), self.member("adapter")]
        self.assertEqual(list(crates.arrows(members, self.RULES)), [])
        members = [self.member("core", "axum", kind="dev"), self.member("adapter")]
        self.assertEqual(len(list(crates.arrows(members, self.RULES))), 1)

    def test_what_is_reached_through_others_counts(self):
        packages = {
            name: {"name": name, "source": source} for name, source in [("core", None), ("a", "r"), ("runtime", "r")]
        }
        kinds = [{"kind": None}]
        nodes = [
            {"id": "core", "deps": [{"pkg": "a", "dep_kinds": kinds}]},
            {"id": "a", "deps": [{"pkg": "runtime", "dep_kinds": kinds}]},
            {"id": "runtime", "deps": []},
        ]
        found = list(crates.unwanted(nodes, packages, self.RULES))
        self.assertEqual(found, ["core reaches runtime, and may not"])

    def test_a_circle_through_tests_is_refused(self):
        members = [self.member("core", "adapter", kind="dev"), self.member("adapter", "core")]
        self.assertEqual(len(list(crates.unpublishable(members))), 2)

    def test_a_tree_has_a_limit(self):
        limits = dict(crates.size_limits(self.RULES))
        self.assertEqual(limits, {("core", None): 1, ("core", "tls"): 2})
        self.assertEqual(list(crates.oversized({("core", None): {"core"}, ("core", "tls"): {"core", "a"}}, limits)), [])
        self.assertEqual(len(list(crates.oversized({("core", None): {"core", "a"}}, limits))), 1)
        self.assertEqual(len(list(crates.oversized({("core", "tls"): {"core", "a", "b"}}, limits))), 1)


class Packages(unittest.TestCase):
    def test_each_field_is_wanted(self):
        package = dict.fromkeys(packages.FIELDS, "x") | {"name": "core", "metadata": {"docs": {"rs": {"targets": []}}}}
        self.assertEqual(list(packages.lacking(package)), [])
        for name in packages.FIELDS:
            self.assertEqual(len(list(packages.lacking(package | {name: None}))), 1, name)
        self.assertEqual(len(list(packages.lacking(package | {"metadata": None}))), 1)

    def test_licences_are_wanted(self):
        package = {"name": "root", "manifest_path": str(packages.ROOT / "Cargo.toml"), "readme": "README.md"}
        self.assertEqual(list(packages.unlicensed(package, {*packages.LICENCES, "README.md"})), [])
        self.assertEqual(len(list(packages.unlicensed(package, set()))), 3)


class Comments(unittest.TestCase):
    def test_the_first_word_of_each_block_is_read(self):
        text = "//! One.\n//! What is not first.\n\n/// Whether it opens.\n///\n/// How it goes on.\nfn f() {}\n// Why not.\n"
        self.assertEqual(list(comments.openings(text)), [(1, "One"), (4, "Whether")])


class Features(unittest.TestCase):
    def test_each_set_of_features_is_compiled_once(self):
        package = {"publish": None, "features": {"default": ["a"], "a": ["dep:x"], "b": [], "c": ["b", "x/y"]}}
        self.assertEqual(
            list(features.choices(package)),
            [
                (),
                ("--no-default-features",),
                *(("--no-default-features", "--features", chosen) for chosen in ["b", "c", "a,b", "a,c"]),
            ],
        )
        self.assertEqual(list(features.choices({"publish": None, "features": {}})), [()])
        self.assertEqual(list(features.choices({"publish": [], "features": {}})), [])


class PublicTypes(unittest.TestCase):
    def found(self, inner):
        return public_types.foreign(
            {
                "index": {"1": {"crate_id": 0, "inner": inner}},
                "paths": {"7": {"crate_id": 3, "path": ["other", "Thing"]}},
                "external_crates": {"3": {"name": "other"}},
            }
        )

    def test_types_traits_and_reexports_are_seen(self):
        thing = {"id": 7, "path": "Thing", "args": None}
        for inner in [
            {"function": {"sig": {"inputs": [["x", {"borrowed_ref": {"type": {"resolved_path": thing}}}]]}}},
            {"impl": {"trait": thing, "blanket_impl": None, "is_synthetic": False}},
            {"use": {"source": "other::Thing", "id": 7}},
        ]:
            self.assertEqual(self.found(inner), {"other": {"other::Thing"}})

    def test_what_others_implement_for_every_type_is_not_ours(self):
        thing = {"id": 7, "path": "Thing", "args": None}
        self.assertEqual(
            self.found({"impl": {"trait": thing, "blanket_impl": {"generic": "T"}, "is_synthetic": False}}), {}
        )


class SharedTypes(unittest.TestCase):
    def index(self, *traits, dyn=True):
        numbered = {str(number): {"inner": {"impl": trait}} for number, trait in enumerate(traits)}
        made = {"crate_id": 0, "name": "T", "inner": {"struct": {"impls": list(range(len(traits)))}}}
        contract = {"crate_id": 0, "name": "C", "inner": {"trait": {"is_dyn_compatible": dyn}}}
        others = {number: {"crate_id": 1, **item} for number, item in numbered.items()}
        return {**others, "10": made, "11": contract}

    def test_a_type_that_is_not_shared_and_a_trait_without_dyn_are_seen(self):
        send, sync = ({"trait": {"path": path}, "is_negative": False} for path in ("Send", "core::marker::Sync"))
        self.assertEqual(list(shared_types.lacking(self.index(send, sync))), [])
        self.assertEqual(list(shared_types.lacking(self.index(send, sync | {"is_negative": True}))), [("T", "Sync")])
        self.assertEqual(list(shared_types.lacking(self.index(sync))), [("T", "Send")])
        self.assertEqual(list(shared_types.lacking(self.index(send, sync, dyn=False))), [("C", "dyn")])

    def test_an_exception_that_is_none_is_refused(self):
        self.assertEqual(len(list(shared_types.problems("registry-image", {"index": {}}))), 1)
        self.assertEqual(len(list(shared_types.problems("registry-listener", {"index": {}}))), 3)


class CancelSafety(unittest.TestCase):
    FUTURE = {"path": "Future", "id": 9, "args": None}
    BOXED = {"resolved_path": {"path": "Pin", "args": {"dyn_trait": {"traits": [{"trait": FUTURE}]}}}}

    def silent(self, output=None, docs="", is_async=False, parent=None):
        function = {"header": {"is_async": is_async}, "sig": {"output": output}}
        items = [{"id": 1, "crate_id": 0, "name": "f", "docs": docs, "inner": {"function": function}}]
        items += [{"id": 2, "crate_id": 0, "name": "T", "docs": parent[0], "inner": parent[1]}] if parent else []
        return list(cancel_safety.silent({"index": {str(item["id"]): item for item in items}}))

    def test_functions_that_return_futures_need_the_section(self):
        opaque = {"impl_trait": [{"trait_bound": {"trait": self.FUTURE}}]}
        for function in [{"is_async": True}, {"output": opaque}, {"output": self.BOXED}]:
            self.assertEqual(self.silent(**function), ["f"])
            self.assertEqual(self.silent(**function, docs="Opens.\n\n# Cancel safety\n\nSafe."), [])
        self.assertEqual(self.silent(output={"primitive": "u8"}), [])

    def test_the_section_of_a_trait_holds_for_its_methods_and_that_of_a_type_does_not(self):
        section = "# Cancel safety"
        trait, inherent = {"trait": {"items": [1]}}, {"impl": {"trait": None, "items": [1], "for": {}}}
        self.assertEqual(self.silent(self.BOXED, parent=(section, trait)), [])
        self.assertEqual(self.silent(self.BOXED, parent=("", trait)), ["T::f"])
        self.assertEqual(len(self.silent(self.BOXED, parent=(section, inherent))), 1)
        implementation = {"impl": {"trait": self.FUTURE, "items": [1], "for": {}}}
        self.assertEqual(self.silent(self.BOXED, parent=("", implementation)), [])


class Listing(unittest.TestCase):
    def test_a_difference_is_shown(self):
        same = {"core": "pub mod core\n"}
        self.assertEqual(list(listing.problems(same, same)), [])
        for other in [{"core": "pub mod core\npub fn core::f()\n"}, {}, same | {"gone": "pub mod gone\n"}]:
            self.assertEqual(len(list(listing.problems(same, other))), 1)


class MinimalVersions(unittest.TestCase):
    def test_the_versions_of_direct_dependencies_are_chosen_anew(self):
        ours = '[[package]]\nname = "core"\nversion = "0.1.0"\ndependencies = [\n "http",\n]\n\n'
        http, fnv = (
            f'[[package]]\nname = "{name}"\nversion = "1.5.0"\nsource = "registry+https://example.com"\n\n'
            for name in ("http", "fnv")
        )
        lock = "version = 4\n\n" + ours + http + fnv
        self.assertEqual(minimal_versions.without(lock, {"core", "http"}), "version = 4\n\n" + ours + fnv)


class Semver(unittest.TestCase):
    BEFORE = """\
pub mod core
pub enum core::Closed // exhaustive
pub core::Closed::One
pub core::Closed::One::size: u64
#[non_exhaustive] pub enum core::Open
pub core::Open::One
pub struct core::Opaque
pub trait core::Contract: core::marker::Send
pub fn core::Contract::must(&self) // required
pub fn core::Contract::may(&self)
impl core::clone::Clone for core::Opaque
"""

    def broken(self, before="", after=""):
        return list(semver.broken(self.BEFORE, self.BEFORE.replace(before, after) if before else self.BEFORE + after))

    def test_what_is_removed_or_changed_is_breaking(self):
        self.assertEqual(self.broken(), [])
        for before, after in [
            ("pub core::Open::One\n", ""),
            ("impl core::clone::Clone for core::Opaque\n", ""),
            ("pub fn core::Contract::may(&self)", "pub fn core::Contract::may(&mut self)"),
            ("pub fn core::Contract::may(&self)", "pub fn core::Contract::may(&self) // required"),
            ("#[non_exhaustive] pub enum core::Open", "pub enum core::Open // exhaustive"),
        ]:
            self.assertEqual(len(self.broken(before, after)), 1, before)

    def test_additions_are_breaking_where_others_implement_or_match(self):
        for added, count in [
            ("pub fn core::Opaque::new() -> Self\n", 0),
            ("pub core::Opaque::size: u64\n", 0),
            ("pub core::Open::Two\n", 0),
            ("pub core::Closed::Two\n", 1),
            ("pub core::Closed::One::name: u8\n", 1),
            ("pub fn core::Contract::more(&self)\n", 0),
            ("pub fn core::Contract::more(&self) // required\n", 1),
            ("pub fn core::New::must(&self) // required\n", 0),
        ]:
            self.assertEqual(len(self.broken(after=added)), count, added)
        self.assertEqual(self.broken("must(&self) // required", "must(&self)"), [])

    def test_a_crate_that_is_gone_is_breaking(self):
        self.assertEqual(list(semver.breaks({"core": "", "axum": ""}, {"core": ""})), ["axum is gone"])

    def test_a_version_may_break_if_its_first_number_that_counts_is_higher(self):
        for was, now, allowed in [
            ("0.1.0", "0.1.1", False),
            ("0.1.0", "0.2.0", True),
            ("0.9.0", "1.0.0", True),
            ("1.2.0", "1.3.0", False),
            ("1.2.0", "2.0.0", True),
            ("0.0.1", "0.0.2", True),
            ("1.2.0", "1.2.0", False),
        ]:
            self.assertEqual(semver.may_break(was, now), allowed, (was, now))


class Circles(unittest.TestCase):
    def circles(self, **files):
        with tempfile.TemporaryDirectory() as folder:
            for name, code in files.items():
                path = Path(folder, "src", *name.split("__")).with_suffix(".rs")
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(code)
            root = Path(folder, "src/lib.rs")
            found = circles.circles(circles.Crate(root).edges())
            return [sorted(str(file.relative_to(root.parent)) for file in circle) for circle in found]

    def test_two_files_that_import_each_other_are_a_circle(self):
        found = self.circles(
            lib="mod a; mod b;",
            a="use crate::b::B; pub struct A(B);",
            b="pub struct B; fn f() -> crate::a::A { todo!() }",
        )
        self.assertEqual(found, [["a.rs", "b.rs"]])

    def test_a_circle_is_seen_through_a_reexport_and_an_alias(self):
        found = self.circles(
            lib="mod folder; mod user;",
            folder__mod="mod part; pub use self::part::{Part as Piece, other};",
            folder__part="use crate::user; pub struct Part; pub fn other() { user::run() }",
            user="use super::folder::{self as elsewhere}; pub fn run() { elsewhere::other() }",
        )
        self.assertEqual(found, [["folder/part.rs", "user.rs"]])

    def test_a_function_with_the_name_of_its_module_is_imported_from_there(self):
        found = self.circles(
            lib="mod a; mod hash; pub use hash::hash;",
            a="use crate::hash; pub struct A; fn f() { hash() }",
            hash="pub fn hash() -> crate::a::A { todo!() }",
        )
        self.assertEqual(found, [["a.rs", "hash.rs"]])

    def test_a_map_and_its_parts_are_no_circle(self):
        found = self.circles(
            lib="mod folder; pub use folder::One;",
            folder__mod="mod one; mod two; pub use one::One; pub use two::*;",
            folder__one="use super::Two; pub struct One(Two);",
            folder__two="pub struct Two;",
        )
        self.assertEqual(found, [])

    def test_a_parent_that_uses_its_child_and_is_used_by_it_is_a_circle(self):
        found = self.circles(
            lib="mod folder;",
            folder__mod="mod one; pub struct Error; fn f() { one::run() }",
            folder__one="use super::Error; pub fn run() -> Result<(), Error> { Ok(()) }",
        )
        self.assertEqual(found, [["folder/mod.rs", "folder/one.rs"]])

    def test_tests_comments_and_literals_import_nothing(self):
        found = self.circles(
            lib="mod a; mod b;",
            a="use crate::b::B; pub struct A(B);",
            b='// crate::a::A\npub struct B; const T: &str = "crate::a::A";\n#[cfg(test)]\nmod tests { use crate::a::A; }',
        )
        self.assertEqual(found, [])

    def test_the_baseline_only_shrinks(self):
        abc, ab = frozenset("abc"), frozenset("ab")
        self.assertEqual(list(circles.compared({abc}, [abc])), [])
        self.assertEqual(len(list(circles.compared({abc}, [ab]))), 2)
        self.assertEqual(len(list(circles.compared({ab}, [abc]))), 1)
        self.assertEqual(len(list(circles.compared(set(), [ab]))), 1)

    def test_a_layer_that_reaches_another_one_through_a_third_is_seen(self):
        layers = {"a/": ("b/", "c.rs")}
        through = [("a/one.rs", "lib.rs"), ("lib.rs", "b/two.rs"), ("b/two.rs", "a/one.rs")]
        found = list(circles.climbs(through, layers))
        self.assertEqual(found, ["a/ may not know b/: a/one.rs -> lib.rs -> b/two.rs"])
        self.assertEqual(list(circles.climbs([("b/two.rs", "a/one.rs"), ("c.rs", "b/two.rs")], layers)), [])

    def test_a_layer_without_files_is_refused(self):
        self.assertEqual(list(circles.empty(circles.LAYERS)), [])
        self.assertEqual(len(list(circles.empty({"registry-core/src/nowhere/": ()}))), 1)


class Compose(unittest.TestCase):
    def test_a_registry_has_time_for_its_drain(self):
        service = {"environment": {"REGISTRY_HTTP_DRAINTIMEOUT": "60s"}}
        self.assertIsNone(compose.cut_short({**service, "stop_grace_period": "1m2s"}))
        self.assertIsNotNone(compose.cut_short({**service, "stop_grace_period": "1m1s"}))


class Kubernetes(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.releases = dict(kubernetes.schemas())
        cls.objects = dict(deployments.renderings())["deploy/kubernetes/fs"]

    def changed(self, kind, change):
        """Faults of an object after a change, and the same ones in each release."""
        (thing,) = (copy.deepcopy(thing) for thing in self.objects if thing["kind"] == kind)
        change(thing)
        found = [schemas.problems(thing) for schemas in self.releases.values()]
        self.assertTrue(all(one == found[0] for one in found), found)
        return found[0]

    def test_what_is_misspelt_has_another_type_or_lacks_a_field_is_refused(self):
        def container(thing):
            return thing["spec"]["template"]["spec"]["containers"][0]

        self.assertEqual(self.changed("StatefulSet", lambda thing: None), [])
        for change, place in [
            (lambda thing: container(thing).update(readinessprobe={}), "spec.template.spec.containers.0: "),
            (lambda thing: thing.update(specs={}), "the object: "),
            (lambda thing: thing["metadata"].update(label={}), "metadata: "),
            (lambda thing: container(thing)["livenessProbe"].update(periodSeconds="10"), "periodSeconds: "),
            (lambda thing: container(thing).update(args="one"), "spec.template.spec.containers.0.args: "),
            (lambda thing: thing["metadata"]["labels"].update(number=1), "metadata.labels.number: "),
            (lambda thing: container(thing).pop("name"), "spec.template.spec.containers.0: 'name' is a required"),
            (lambda thing: thing["spec"].pop("selector"), "spec: 'selector' is a required"),
        ]:
            found = self.changed("StatefulSet", change)
            self.assertEqual([place in fault for fault in found], [True], (place, found))

    def test_a_number_or_a_text_is_accepted_where_both_are(self):
        for port, count in [("http", 0), (5000, 0), (True, 1), ([], 1)]:
            found = self.changed("StatefulSet", lambda thing: self.probe(thing).update(port=port))
            self.assertEqual(len(found), count, (port, found))

    @staticmethod
    def probe(thing):
        return thing["spec"]["template"]["spec"]["containers"][0]["livenessProbe"]["httpGet"]

    def test_what_no_release_has_is_refused(self):
        for change in [
            lambda thing: thing.update(apiVersion="apps/v1beta2"),
            lambda thing: thing.update(kind="Statefulset"),
            lambda thing: thing.pop("kind"),
        ]:
            self.assertEqual(len(self.changed("StatefulSet", change)), 1)

    def test_a_monitor_is_read_strictly(self):
        monitor = {"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor", "metadata": {"name": "a"}}
        for spec, count in [
            ({"selector": {}, "endpoints": [{"port": "metrics"}]}, 0),
            ({"selector": {}, "endpoints": [{"ports": "metrics"}]}, 1),
            ({"selector": {}}, 1),
        ]:
            for schemas in self.releases.values():
                self.assertEqual(len(schemas.problems({**monitor, "spec": spec})), count, spec)

    def test_a_key_that_is_there_twice_is_refused(self):
        with self.assertRaises(kubernetes.yaml.YAMLError):
            kubernetes.documents("a: 1\nb: {c: 1, c: 2}\n")


class Manifests(unittest.TestCase):
    @classmethod
    def setUpClass(cls):
        cls.renderings = dict(deployments.renderings())

    def broken(self, name, kind, change):
        objects = copy.deepcopy(self.renderings[name])
        change(next(thing for thing in objects if thing["kind"] == kind))
        return list(manifests.faults(objects))

    def test_each_rule_can_fail(self):
        def pod(thing):
            return thing["spec"]["template"]["spec"]

        def container(thing):
            return pod(thing)["containers"][0]

        changes = [
            ("StatefulSet", lambda thing: pod(thing)["securityContext"].pop("runAsNonRoot")),
            ("StatefulSet", lambda thing: pod(thing)["securityContext"].pop("seccompProfile")),
            ("StatefulSet", lambda thing: pod(thing).pop("automountServiceAccountToken")),
            ("StatefulSet", lambda thing: pod(thing).pop("enableServiceLinks")),
            ("StatefulSet", lambda thing: container(thing)["securityContext"].pop("readOnlyRootFilesystem")),
            ("StatefulSet", lambda thing: container(thing)["securityContext"]["capabilities"].update(add=["ALL"])),
            ("StatefulSet", lambda thing: container(thing)["volumeMounts"].pop()),
            ("StatefulSet", lambda thing: container(thing)["livenessProbe"]["httpGet"].update(path="/debug/health")),
            ("StatefulSet", lambda thing: container(thing)["readinessProbe"]["httpGet"].update(port="https")),
            ("StatefulSet", lambda thing: container(thing).pop("startupProbe")),
            ("StatefulSet", lambda thing: container(thing)["resources"].pop("limits")),
            ("StatefulSet", lambda thing: pod(thing).update(terminationGracePeriodSeconds=9)),
            ("StatefulSet", lambda thing: thing["spec"].update(replicas=2)),
            ("StatefulSet", lambda thing: thing["spec"].update(serviceName="other")),
            ("Service", lambda thing: thing["spec"].update(selector={"app": "registry"})),
            ("Service", lambda thing: thing["spec"]["ports"][0].update(targetPort="https")),
            ("ConfigMap", lambda thing: thing["metadata"].update(name="other")),
            ("ServiceAccount", lambda thing: thing["metadata"].update(name="other")),
        ]
        for name in ("deploy/kubernetes/fs", "deploy/helm/registry/ci/filesystem-values.yaml"):
            self.assertEqual(self.broken(name, "Service", lambda thing: None), [])
            for number, (kind, change) in enumerate(changes):
                found = self.broken(name, kind, change)
                self.assertEqual(len(found), 1, (name, number, found))

    def test_each_rule_for_replicas_can_fail(self):
        def pod(thing):
            return thing["spec"]["template"]["spec"]

        def container(thing):
            return pod(thing)["containers"][0]

        changes = [
            lambda thing: container(thing)["readinessProbe"]["httpGet"].update(path="/", port="http"),
            lambda thing: container(thing).pop("lifecycle"),
            lambda thing: pod(thing).update(terminationGracePeriodSeconds=71),
            lambda thing: pod(thing)["topologySpreadConstraints"].pop(),
            lambda thing: pod(thing)["topologySpreadConstraints"][0]["labelSelector"].update(matchLabels={"a": "b"}),
            lambda thing: thing["spec"].update(replicas=1),
            lambda thing: thing["spec"]["strategy"]["rollingUpdate"].update(maxUnavailable=1),
            lambda thing: container(thing)["startupProbe"]["httpGet"].update(path="/debug/health", port="metrics"),
        ]
        for name in ("deploy/kubernetes/bucket", "deploy/helm/registry/ci/s3-values.yaml"):
            self.assertEqual(self.broken(name, "Service", lambda thing: None), [])
            for number, change in enumerate(changes):
                found = self.broken(name, "Deployment", change)
                self.assertEqual(len(found), 1, (name, number, found))
            for change in [
                lambda thing: thing["spec"]["selector"].update(matchLabels={"a": "b"}),
                lambda thing: thing.update(kind="Budget"),
            ]:
                self.assertEqual(len(self.broken(name, "PodDisruptionBudget", change)), 1)

    def test_one_replica_is_enough_where_the_store_needs_it_and_a_second_one_too_many(self):
        name = "deploy/helm/registry/ci/s3-sole-values.yaml"
        self.assertEqual(self.broken(name, "Deployment", lambda thing: None), [])
        for change in [
            lambda thing: thing["spec"].update(replicas=2),
            lambda thing: thing["spec"].update(strategy={"type": "RollingUpdate"}),
        ]:
            self.assertEqual(len(self.broken(name, "Deployment", change)), 1)

    def test_a_budget_for_one_pod_and_a_pod_of_a_test_behind_the_service_are_refused(self):
        objects = self.renderings["deploy/helm/registry/ci/filesystem-values.yaml"]
        selector = next(thing for thing in objects if thing["kind"] == "StatefulSet")["spec"]["selector"]
        budget = {"kind": "PodDisruptionBudget", "metadata": {"name": "a"}, "spec": {"selector": selector}}
        self.assertEqual(len(list(manifests.faults([*objects, budget]))), 1)
        others = copy.deepcopy(objects)
        next(thing for thing in others if thing["kind"] == "Pod")["metadata"]["labels"] = selector["matchLabels"]
        self.assertEqual(len(list(manifests.faults(others))), 3)

    def test_a_monitor_has_to_find_the_metrics(self):
        name = "deploy/helm/registry/ci/filesystem-all-values.yaml"
        self.assertEqual(self.broken(name, "ServiceMonitor", lambda thing: None), [])
        for change in [
            lambda thing: thing["spec"]["endpoints"][0].update(port="http"),
            lambda thing: thing["spec"]["selector"]["matchLabels"].pop("app.kubernetes.io/component"),
        ]:
            self.assertEqual(len(self.broken(name, "ServiceMonitor", change)), 1)

    def test_durations_are_read(self):
        self.assertEqual([manifests.seconds(text) for text in ("8s", "1m30s", "1h")], [8, 90, 3600])


if __name__ == "__main__":
    unittest.main()
