package registrytest_test

import (
	"archive/tar"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-containerregistry/pkg/authn"
	"github.com/google/go-containerregistry/pkg/name"
	v1 "github.com/google/go-containerregistry/pkg/v1"
	"github.com/google/go-containerregistry/pkg/v1/random"
	"github.com/google/go-containerregistry/pkg/v1/remote"
	"github.com/google/go-containerregistry/pkg/v1/remote/transport"
	"github.com/google/go-containerregistry/pkg/v1/validate"

	registrytest "example.com/registry/registry-test/go"
)

// The client tries again at once: the tests wait for no clock.
var atOnce = remote.WithRetryBackoff(remote.Backoff{Duration: time.Nanosecond, Steps: 3})

func image(t *testing.T) v1.Image {
	t.Helper()
	image, err := random.Image(4000, 2)
	if err != nil {
		t.Fatal(err)
	}
	return image
}

func reference(t *testing.T, registry *registrytest.Registry, text string) name.Reference {
	t.Helper()
	reference, err := name.ParseReference(registry.Reference(text))
	if err != nil {
		t.Fatal(err)
	}
	return reference
}

func TestAnImageIsPushedAndPulled(t *testing.T) {
	registry := registrytest.Start(t)
	app := reference(t, registry, "team/app:v1")
	pushed := image(t)

	if err := remote.Write(app, pushed); err != nil {
		t.Fatal(err)
	}
	pulled, err := remote.Image(app)
	if err != nil {
		t.Fatal(err)
	}
	if err := validate.Image(pulled); err != nil {
		t.Fatal(err)
	}

	registry.AssertPushed("team/app:v1")
	digest, err := pushed.Digest()
	if err != nil {
		t.Fatal(err)
	}
	state := registry.State()
	if got := state.Repositories["team/app"].Tags["v1"]; got != digest.String() {
		t.Errorf("v1 points at %s, and not at %s", got, digest)
	}
	if len(state.Uploads) != 0 {
		t.Errorf("uploads are open: %v", state.Uploads)
	}
}

func TestAPushIsTriedAgain(t *testing.T) {
	registry := registrytest.Start(t)
	registry.Fault(registrytest.Fault{On: "PUT manifest", First: 2, Status: http.StatusServiceUnavailable})

	if err := remote.Write(reference(t, registry, "app:v1"), image(t), atOnce); err != nil {
		t.Fatal(err)
	}

	registry.AssertPushed("app:v1")
	puts := registry.Requests("PUT manifest")
	if len(puts) != 3 || puts[0].Status != 503 || puts[1].Status != 503 || puts[2].Status != 201 {
		t.Errorf("the manifest was put thus: %+v", puts)
	}
}

func TestAStatusThatIsNotTriedAgainIsAnError(t *testing.T) {
	registry := registrytest.Start(t)
	registry.Fault(registrytest.Fault{On: "PUT manifest", Status: http.StatusForbidden, Code: "DENIED"})

	err := remote.Write(reference(t, registry, "app:v1"), image(t), atOnce)

	var refused *transport.Error
	if !errors.As(err, &refused) || refused.StatusCode != http.StatusForbidden || refused.Errors[0].Code != "DENIED" {
		t.Errorf("the push ended with %v", err)
	}
}

func TestABlobThatIsCutIsAnError(t *testing.T) {
	registry := registrytest.Start(t)
	app := reference(t, registry, "app:v1")
	if err := remote.Write(app, image(t)); err != nil {
		t.Fatal(err)
	}
	registry.Fault(registrytest.Fault{On: "GET blob", Always: true, Cut: "response", After: 100})

	pulled, err := remote.Image(app, atOnce)
	if err != nil {
		t.Fatal(err)
	}
	if validate.Image(pulled) == nil {
		t.Error("an image is valid whose blobs were cut")
	}
}

func TestALoginWithATokenIsNeeded(t *testing.T) {
	registry := registrytest.Start(t, registrytest.Bearer("ann", "pw"))
	app := reference(t, registry, "app:v1")

	if err := remote.Write(app, image(t)); err == nil {
		t.Error("a push without a login succeeds")
	}
	login := remote.WithAuth(&authn.Basic{Username: "ann", Password: "pw"})
	if err := remote.Write(app, image(t), login); err != nil {
		t.Fatal(err)
	}

	registry.AssertPushed("app:v1")
	if len(registry.Requests("token")) == 0 {
		t.Error("nobody asked for a token")
	}
}

func TestASeedIsThereToPull(t *testing.T) {
	registry := registrytest.Start(t)
	digest := registry.Seed("app:v1", map[string]any{"image": map[string]any{"files": [][]string{{"etc/a", "1"}}}})

	pulled, err := remote.Image(reference(t, registry, "app@"+digest))
	if err != nil {
		t.Fatal(err)
	}
	layers, err := pulled.Layers()
	if err != nil {
		t.Fatal(err)
	}
	archive, err := layers[0].Uncompressed()
	if err != nil {
		t.Fatal(err)
	}
	defer archive.Close()
	files := tar.NewReader(archive)
	for _, name := range []string{"etc/", "etc/a"} {
		if file, err := files.Next(); err != nil || file.Name != name {
			t.Fatalf("the layer has not %s, but %v, %v", name, file, err)
		}
	}
	if content, err := io.ReadAll(files); err != nil || string(content) != "1" {
		t.Errorf("the file is %q, %v", content, err)
	}
}

func TestAPresetChangesAnswers(t *testing.T) {
	registry := registrytest.Start(t)
	registry.Preset("bodies_in_chunks")
	if err := ping(registry, http.DefaultClient); err != nil {
		t.Fatal(err)
	}
	if got := registry.Requests("ping")[0].ResponseHeaders["transfer-encoding"]; got != "chunked" {
		t.Errorf("the transfer encoding is %q", got)
	}
}

func TestARegistryThatIsStoppedRefusesConnections(t *testing.T) {
	registry := registrytest.Start(t)
	registry.Stop()
	if err := ping(registry, http.DefaultClient); !errors.Is(err, syscall.ECONNREFUSED) {
		t.Errorf("the error is %v", err)
	}
	registry.Resume()
	registry.Pause()
	answered := make(chan error)
	go func() { answered <- ping(registry, http.DefaultClient) }()
	for len(registry.Requests("ping")) == 0 {
	}
	registry.Resume()
	if err := <-answered; err != nil {
		t.Error(err)
	}
}

func TestAClientNeedsTheCertificateOfTheRegistry(t *testing.T) {
	registry := registrytest.Start(t, registrytest.TLS(), registrytest.ClientCertificate())
	authority, err := os.ReadFile(registry.CA)
	if err != nil {
		t.Fatal(err)
	}
	roots := x509.NewCertPool()
	roots.AppendCertsFromPEM(authority)
	client := func(certificates ...tls.Certificate) *http.Client {
		config := &tls.Config{RootCAs: roots, Certificates: certificates}
		return &http.Client{Transport: &http.Transport{TLSClientConfig: config}}
	}
	if err := ping(registry, client()); err == nil {
		t.Error("a client without a certificate is served")
	}
	certificate, err := tls.LoadX509KeyPair(registry.ClientCertificate, registry.ClientKey)
	if err != nil {
		t.Fatal(err)
	}
	if err := ping(registry, client(certificate)); err != nil {
		t.Error(err)
	}
}

func TestTokensLiveAsLongAsAnOptionSays(t *testing.T) {
	registry := registrytest.Start(t, registrytest.Bearer("ann", "pw"), registrytest.AnonymousPull(),
		registrytest.TokenLifetime(7*time.Second))
	answer, err := http.Get(registry.URL + "/token?scope=repository:app:pull")
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	issued, err := io.ReadAll(answer.Body)
	if err != nil || !strings.Contains(string(issued), `"expires_in":7`) {
		t.Errorf("the token is %s, %v", issued, err)
	}
}

func ping(registry *registrytest.Registry, client *http.Client) error {
	answer, err := client.Get(registry.URL + "/v2/")
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	_, err = io.Copy(io.Discard, answer.Body)
	return err
}

// A testing.TB that records its failure.
type recorded struct {
	testing.TB
	failed  bool
	skipped bool
	message string
	cleanup []func()
}

func (r *recorded) Cleanup(f func()) { r.cleanup = append(r.cleanup, f) }
func (r *recorded) Errorf(format string, values ...any) {
	r.failed = true
	r.message = fmt.Sprintf(format, values...)
}
func (r *recorded) Fatal(message ...any) { r.message = fmt.Sprint(message...); panic(r) }
func (r *recorded) Failed() bool         { return r.failed }
func (r *recorded) Skipped() bool        { return r.skipped }
func (r *recorded) end()                 { r.cleanup[0]() }

func TestAFaultThatWasNeverInjectedFailsItsTest(t *testing.T) {
	for _, optional := range []bool{false, true} {
		inner := &recorded{TB: t}
		registry := registrytest.Start(inner)
		registry.Fault(registrytest.Fault{On: "DELETE blob", Status: 500, Optional: optional})
		inner.end()
		if inner.failed == optional {
			t.Errorf("optional: %t, failed: %t", optional, inner.failed)
		}
		fault := `Fault{On: "DELETE blob", Status: 500} never happened`
		if !optional && !strings.Contains(inner.message, fault) {
			t.Errorf("the message is %q", inner.message)
		}
	}
}

func TestWordsThatDescribeNoRequestsFailTheTest(t *testing.T) {
	registry := registrytest.Start(t)
	for _, on := range []string{"*", "", "GET", "* manifest", "PUT manifest", "token"} {
		registry.Requests(on)
	}
	for _, on := range []string{"PUT manifests", "put manifest", "PUSH", "manifest PUT", "GET HEAD", "blob manifest"} {
		inner := &recorded{TB: t}
		func() {
			registry := registrytest.Start(inner)
			defer inner.end()
			defer func() {
				if recover() != inner {
					t.Errorf("%q describes requests", on)
				}
			}()
			registry.Requests(on)
		}()
		if !strings.Contains(inner.message, on) {
			t.Errorf("the message is %q", inner.message)
		}
	}
}

func TestASkippedTestIsNotFailedByItsFaults(t *testing.T) {
	inner := &recorded{TB: t}
	registry := registrytest.Start(inner)
	registry.Fault(registrytest.Fault{On: "DELETE blob", Status: 500})
	inner.skipped = true
	inner.end()
	if inner.failed {
		t.Error("a test that was skipped failed")
	}
}
