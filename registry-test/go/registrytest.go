// Package registrytest starts a container registry for a test. It records requests and injects faults.
//
//	registry := registrytest.Start(t)
//	registry.Fault(registrytest.Fault{On: "PUT manifest", Status: 503})
//	push(registry.Reference("app:v1"))
//	registry.AssertPushed("app:v1")
//
// It runs the program registry-test: $REGISTRY_TEST_BIN, else the one in PATH. The package is one file, and needs the
// standard library only: copy it, or import it.
package registrytest

import (
	"bufio"
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"reflect"
	"strings"
	"testing"
	"time"
)

// Registry is a running registry, on a free port of this machine. It ends with its test.
type Registry struct {
	// URL is its address with scheme.
	URL string `json:"url"`
	// Host is its address as in a reference: IP:PORT.
	Host string `json:"host"`
	// CA is the path of its authority's certificate (PEM), with TLS.
	CA string `json:"ca"`
	// ClientCertificate and ClientKey are paths of what a client has to present (PEM), with ClientCertificate.
	ClientCertificate string `json:"client_certificate"`
	ClientKey         string `json:"client_key"`
	// DockerConfigDir is a folder with a config.json that contains the login.
	DockerConfigDir string `json:"docker_config_dir"`
	// Env has variables for the environment of other programs, see Environ.
	Env map[string]string `json:"env"`

	control string
	client  *http.Client
	t       testing.TB
}

// Option is an option of Start.
type Option []string

// Basic requires a login with Basic.
func Basic(user, password string) Option { return Option{"--basic=" + user + ":" + password} }

// Bearer requires a login with a token of the registry's own token endpoint.
func Bearer(user, password string) Option { return Option{"--bearer=" + user + ":" + password} }

// TokenLifetime lets tokens expire after this time. It is one minute by default.
func TokenLifetime(lifetime time.Duration) Option {
	return Option{fmt.Sprintf("--token-lifetime=%g", lifetime.Seconds())}
}

// AnonymousPull allows pulls without a login.
func AnonymousPull() Option { return Option{"--anonymous-pull"} }

// TLS serves HTTPS with a certificate of a throw-away authority, whose certificate is at Registry.CA.
func TLS() Option { return Option{"--tls"} }

// ClientCertificate requires the certificate at Registry.ClientCertificate of each client. It needs TLS.
func ClientCertificate() Option { return Option{"--client-certificate"} }

// ReadOnly refuses pushes and deletions.
func ReadOnly() Option { return Option{"--read-only"} }

// Quirk makes the registry behave like one that lacks something, such as "without-mount".
func Quirk(name string) Option { return Option{"--quirk=" + name} }

// Fault is a rule, and one fault that it injects. Without Nth, First, EachFirst and Always it applies once.
type Fault struct {
	// On describes requests: a method, a kind (blob, upload, manifest, tags, referrers, token, ping, catalog), both, or "*".
	On         string `json:"on"`
	Repository string `json:"repository,omitempty"`
	Digest     string `json:"digest,omitempty"`
	Tag        string `json:"tag,omitempty"`
	Nth        int    `json:"nth,omitempty"`
	First      int    `json:"first,omitempty"`
	EachFirst  bool   `json:"each_first,omitempty"`
	Always     bool   `json:"always,omitempty"`
	// Optional is for a rule that need not apply. A test fails if any other one never does.
	Optional bool `json:"optional,omitempty"`
	// Label names the rule in messages. It is the fault as Go writes it by default.
	Label string `json:"label,omitempty"`

	// Status answers instead of the registry.
	Status     int               `json:"status,omitempty"`
	RetryAfter int               `json:"retry_after,omitempty"`
	RetryAt    string            `json:"retry_at,omitempty"`
	Code       string            `json:"code,omitempty"`
	Headers    map[string]string `json:"headers,omitempty"`
	AfterBody  bool              `json:"after_body,omitempty"`
	// Cut closes the connection in the "request" or the "response", After so many bytes of its body.
	Cut   string `json:"cut,omitempty"`
	Reset bool   `json:"reset,omitempty"`
	// Stall sends nothing more, until OpenGate(Gate) or the client leaves.
	Stall string `json:"stall,omitempty"`
	Gate  string `json:"gate,omitempty"`
	After int    `json:"after,omitempty"`
	// Slow is a number of bytes per second.
	Slow        int               `json:"slow,omitempty"`
	LostAnswer  bool              `json:"lost_answer,omitempty"`
	Refuse      bool              `json:"refuse,omitempty"`
	WrongBytes  bool              `json:"wrong_bytes,omitempty"`
	WrongLength int               `json:"wrong_length,omitempty"`
	DropHeader  string            `json:"drop_header,omitempty"`
	SetHeader   map[string]string `json:"set_header,omitempty"`
	Location    string            `json:"location,omitempty"`
	// Redirect is "same_host", "loop", or a map such as {"other_host": {"refuse_authorization": true}}.
	Redirect any `json:"redirect,omitempty"`
	// Token is "expire", "no_expires_in", "access_token_only", "other_realm", or a map such as {"fails": 503}.
	Token any `json:"token,omitempty"`
}

// Request is a request that the registry got, and its answer.
type Request struct {
	Method          string            `json:"method"`
	Target          string            `json:"target"`
	Operation       string            `json:"operation"`
	Repository      string            `json:"repository"`
	Reference       string            `json:"reference"`
	Digest          string            `json:"digest"`
	Headers         map[string]string `json:"headers"`
	Sent            int64             `json:"sent"`
	Status          int               `json:"status"`
	ResponseHeaders map[string]string `json:"response_headers"`
	Received        int64             `json:"received"`
	Cut             string            `json:"cut"`
}

// State is what the registry stores.
type State struct {
	// Repositories by name.
	Repositories map[string]struct {
		// Tags and the digests that they point at.
		Tags      map[string]string `json:"tags"`
		Manifests []string          `json:"manifests"`
	} `json:"repositories"`
	// Uploads are the sessions that are neither closed nor cancelled.
	Uploads []struct {
		Repository string `json:"repository"`
		ID         string `json:"id"`
		Offset     int64  `json:"offset"`
	} `json:"uploads"`
}

// Start starts a registry for a test, which fails if the registry cannot start, or if a fault was never injected.
func Start(t testing.TB, options ...Option) *Registry {
	t.Helper()
	arguments := []string{"serve"}
	for _, option := range options {
		arguments = append(arguments, option...)
	}
	program := os.Getenv("REGISTRY_TEST_BIN")
	if program == "" {
		program = "registry-test"
	}
	command := exec.Command(program, arguments...)
	var problem bytes.Buffer
	command.Stderr = &problem
	stdin, err := command.StdinPipe()
	if err != nil {
		t.Fatalf("registry-test: %v", err)
	}
	stdout, err := command.StdoutPipe()
	if err != nil {
		t.Fatalf("registry-test: %v", err)
	}
	if err := command.Start(); err != nil {
		t.Fatalf("registry-test: %v; install it in PATH or set REGISTRY_TEST_BIN to its path", err)
	}
	var announced struct {
		*Registry
		Control string `json:"control"`
	}
	announced.Registry = &Registry{t: t, client: &http.Client{Transport: &http.Transport{}, Timeout: time.Minute}}
	line, err := bufio.NewReader(stdout).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &announced)
	}
	if err != nil {
		stdin.Close()
		_ = command.Wait()
		t.Fatalf("registry-test %s: %s", strings.Join(arguments, " "), bytes.TrimSpace(problem.Bytes()))
	}
	registry := announced.Registry
	registry.control = strings.TrimRight(announced.Control, "/")
	t.Cleanup(func() {
		registry.client.CloseIdleConnections()
		stdin.Close()
		// The first failure is the one to show: a test that failed, or was skipped, need not have come to its faults.
		if err := command.Wait(); err != nil && !t.Failed() && !t.Skipped() {
			t.Errorf("registry-test: %s", bytes.TrimSpace(problem.Bytes()))
		}
	})
	return registry
}

// Reference returns a name with the registry's host: "127.0.0.1:PORT/app:v1".
func (r *Registry) Reference(name string) string { return r.Host + "/" + name }

// Environ returns the process's environment with the variables of Env, for exec.Cmd.
func (r *Registry) Environ() []string {
	environ := os.Environ()
	for name, value := range r.Env {
		environ = append(environ, name+"="+value)
	}
	return environ
}

// Fault injects a fault into requests.
func (r *Registry) Fault(fault Fault) {
	r.t.Helper()
	if fault.Label == "" {
		fault.Label = fault.String()
	}
	if fault.On == "" {
		fault.On = "*"
	}
	r.call("POST", "faults", fault, nil)
}

// String returns the fault as Go writes it: Fault{On: "GET blob", Status: 503}.
func (f Fault) String() string {
	var fields []string
	value := reflect.ValueOf(f)
	for i := range value.NumField() {
		if field := value.Field(i); !field.IsZero() {
			fields = append(fields, fmt.Sprintf("%s: %#v", value.Type().Field(i).Name, field))
		}
	}
	return "Fault{" + strings.Join(fields, ", ") + "}"
}

// Preset injects the faults of a preset, such as "bodies_in_chunks".
func (r *Registry) Preset(name string) {
	r.t.Helper()
	r.call("POST", "faults", map[string]string{"preset": name, "label": fmt.Sprintf("Preset(%q)", name)}, nil)
}

// ClearFaults removes all rules.
func (r *Registry) ClearFaults() {
	r.t.Helper()
	r.call("DELETE", "faults", nil, nil)
}

// OpenGate lets the requests go on that a rule with this gate holds.
func (r *Registry) OpenGate(name string) {
	r.t.Helper()
	r.call("POST", "gates/"+url.PathEscape(name)+"/open", nil, nil)
}

// Seed stores content, and returns its digest: Seed("app:v1", map[string]any{"image": …}).
func (r *Registry) Seed(name string, what map[string]any) string {
	r.t.Helper()
	body := map[string]any{"name": name}
	for key, value := range what {
		body[key] = value
	}
	var stored struct {
		Digest string `json:"digest"`
	}
	r.call("POST", "seed", body, &stored)
	return stored.Digest
}

// Requests returns the requests so far: all ("*"), or those of a method and a kind, such as "PUT manifest" or "blob".
func (r *Registry) Requests(on string) []Request {
	r.t.Helper()
	method, kind, err := parseOn(on)
	if err != nil {
		r.t.Fatal(err)
	}
	var recorded struct {
		Requests []Request `json:"requests"`
	}
	r.call("GET", "requests", nil, &recorded)
	matching := []Request{}
	for _, request := range recorded.Requests {
		if (method == "" || request.Method == method) && (kind == "" || strings.HasSuffix(request.Operation, " "+kind)) {
			matching = append(matching, request)
		}
	}
	return matching
}

// State returns what the registry stores.
func (r *Registry) State() State {
	r.t.Helper()
	var state State
	r.call("GET", "state", nil, &state)
	return state
}

// AssertPushed fails the test unless the registry has the image, whole: children and blobs, too.
func (r *Registry) AssertPushed(name string) {
	r.t.Helper()
	var answer struct {
		Pushed  bool   `json:"pushed"`
		Missing string `json:"missing"`
	}
	r.call("POST", "assert-pushed", map[string]string{"name": name}, &answer)
	if !answer.Pushed {
		r.t.Fatal(answer.Missing)
	}
}

// ExpireTokens makes all tokens that were given out invalid.
func (r *Registry) ExpireTokens() {
	r.t.Helper()
	r.call("POST", "expire-tokens", nil, nil)
}

// Restart cuts all connections, and listens again on the same port. Content stays.
func (r *Registry) Restart() {
	r.t.Helper()
	r.call("POST", "restart", nil, nil)
}

// Pause holds all requests, as a registry that hangs, until Resume.
func (r *Registry) Pause() {
	r.t.Helper()
	r.call("POST", "pause", nil, nil)
}

// Stop cuts all connections and refuses new ones, as a registry that has died, until Resume. Content and port stay.
func (r *Registry) Stop() {
	r.t.Helper()
	r.call("POST", "stop", nil, nil)
}

// Resume continues after Pause or Stop.
func (r *Registry) Resume() {
	r.t.Helper()
	r.call("POST", "resume", nil, nil)
}

// Reset removes all content, rules and recorded requests, and continues after Pause or Stop.
func (r *Registry) Reset() {
	r.t.Helper()
	r.call("POST", "reset", nil, nil)
}

const (
	methods = "GET HEAD PUT POST PATCH DELETE OPTIONS"
	kinds   = "ping blob upload manifest tags referrers catalog token"
)

// parseOn parses a method, a kind, both, or "*".
func parseOn(on string) (method, kind string, err error) {
	for _, word := range strings.Fields(on) {
		switch {
		case word == "*":
		case method == "" && kind == "" && isWord(methods, word):
			method = word
		case kind == "" && isWord(kinds, word):
			kind = word
		default:
			return "", "", fmt.Errorf("registry-test: cannot parse %q at %q: a method (%s), a kind (%s), both, or *", on, word, methods, kinds)
		}
	}
	return method, kind, nil
}

func isWord(list, word string) bool { return strings.Contains(" "+list+" ", " "+word+" ") }

func (r *Registry) call(method, path string, body, answer any) {
	r.t.Helper()
	text, err := json.Marshal(body)
	if err != nil {
		r.t.Fatalf("registry-test: %s %s: %v", method, path, err)
	}
	if body == nil {
		text = nil
	}
	request, err := http.NewRequest(method, r.control+"/"+path, bytes.NewReader(text))
	if err != nil {
		r.t.Fatalf("registry-test: %s %s: %v", method, path, err)
	}
	response, err := r.client.Do(request)
	if err != nil {
		r.t.Fatalf("registry-test: %s %s: %v", method, path, err)
	}
	defer response.Body.Close()
	content, err := io.ReadAll(response.Body)
	if err == nil && response.StatusCode >= 300 {
		err = fmt.Errorf("%s", bytes.TrimSpace(content))
	}
	if err == nil && answer != nil {
		err = json.Unmarshal(content, answer)
	}
	if err != nil {
		r.t.Fatalf("registry-test: %s %s: %v", method, path, err)
	}
}
