package mounttests

import (
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"

	"imapfs/internal/harness"
)

// line is the way between a mount and its server. It can be disturbed, and a
// tripwire tells when so many bytes have come from the server.
type line struct {
	harness.Account // as it is reached through the line
	proxy           *toxiproxy.Proxy
	wire            *tripwire
	faults          []string // the toxics to remove when the line is healed
}

func newLine(t *testing.T, a harness.Account) *line {
	t.Helper()
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	l := &line{Account: a, proxy: toxiproxy.NewProxy(api, "line", "127.0.0.1:0", a.Addr)}
	w, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(`{"type": "tripwire"}`))
	harness.Must(t, err)
	l.wire = w.Toxic.(*tripwire)
	harness.Must(t, l.proxy.Start())
	t.Cleanup(l.proxy.Stop)
	l.Addr = l.proxy.Listen
	return l
}

// disturb adds a toxic, to the connections that are open too.
func (l *line) disturb(kind, stream, attributes string) error {
	name := kind + " " + stream
	_, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(
		fmt.Sprintf(`{"type": %q, "name": %q, "stream": %q, "attributes": {%s}}`, kind, name, stream, attributes)))
	if err == nil {
		l.faults = append(l.faults, name)
	}
	return err
}

// resettable makes every connection from now on end with RST instead of FIN.
// Toxiproxy decides that when the connection is made, and if there is a
// reset_peer toxic then, even one that never acts.
func (l *line) resettable(t *testing.T) {
	t.Helper()
	if _, err := l.proxy.Toxics.AddToxicJson(strings.NewReader(`{"type": "reset_peer", "name": "linger", "toxicity": 0}`)); err != nil {
		t.Fatal(err)
	}
}

// heal takes away what disturbs the line.
func (l *line) heal(t *testing.T) {
	t.Helper()
	for _, name := range l.faults {
		harness.Must(t, l.proxy.Toxics.RemoveToxic(t.Context(), name))
	}
	l.faults = nil
}

// tripwire is a toxic that lets everything pass and counts it. Armed, it holds
// the line from a certain byte on, until the fault is in place: on loopback all
// would be over before that otherwise.
type tripwire struct {
	mu      sync.Mutex
	passed  int64 // bytes from the server, on all connections
	at      int64 // where it trips; 0 for nowhere
	tripped chan struct{}
	placed  chan struct{} // closed when the fault is in place
}

func init() {
	toxics.Register("tripwire", new(tripwire))
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves
}

// arm makes the wire trip after another n bytes. The caller waits for tripped,
// does what it wants, and closes placed.
func (w *tripwire) arm(n int64) (tripped <-chan struct{}, placed chan<- struct{}) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = w.passed + n
	w.tripped, w.placed = make(chan struct{}), make(chan struct{})
	return w.tripped, w.placed
}

func (w *tripwire) disarm() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.at = 0
}

func (w *tripwire) count() int64 {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.passed
}

// pass counts n bytes. If that trips the wire, it returns what to wait for.
func (w *tripwire) pass(n int) <-chan struct{} {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.passed += int64(n)
	if w.at == 0 || w.passed < w.at {
		return nil
	}
	w.at = 0
	close(w.tripped)
	return w.placed
}

// Pipe implements toxics.Toxic.
func (w *tripwire) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			if placed := w.pass(len(chunk.Data)); placed != nil {
				select {
				case <-placed:
				case <-stub.Interrupt: // a toxic is being added behind
					stub.Output <- chunk
					return
				}
			}
			stub.Output <- chunk
		}
	}
}
