package main

import (
	"fmt"
	"strings"
	"sync"
	"time"

	"github.com/Shopify/toxiproxy/v2"
	"github.com/Shopify/toxiproxy/v2/stream"
	"github.com/Shopify/toxiproxy/v2/toxics"
	"github.com/rs/zerolog"
)

// network is a way to the server: a relay that counts, and behind it a line
// with a delay and a limited rate.
type network struct {
	name  string
	rtt   time.Duration
	relay *relay
	proxy *toxiproxy.Proxy // nil on loopback
}

// newNetwork makes a line of rate kB/s each way to the server. Without a
// round-trip time it is loopback itself.
func (b *bench) newNetwork(name, server string, rtt time.Duration, rate int) (*network, error) {
	n := &network{name: name, rtt: rtt}
	if rtt > 0 {
		n.proxy = newProxy(name, server)
		for _, toxic := range []string{
			fmt.Sprintf(`"type": "line", "attributes": {"rate": %d}`, rate),
			fmt.Sprintf(`"type": "latency", "attributes": {"latency": %d}`, rtt.Milliseconds()/2),
		} {
			if err := addToxic(n.proxy, toxic); err != nil {
				return nil, err
			}
		}
		if err := n.proxy.Start(); err != nil {
			return nil, err
		}
		server = n.proxy.Listen
	}
	var err error
	if n.relay, err = newRelay(server, rtt); err == nil {
		b.networks = append(b.networks, n)
	}
	return n, err
}

func newProxy(name, server string) *toxiproxy.Proxy {
	zerolog.SetGlobalLevel(zerolog.Disabled) // some toxics log by themselves
	api := toxiproxy.NewServer(toxiproxy.NewMetricsContainer(nil), zerolog.Nop())
	return toxiproxy.NewProxy(api, name, "127.0.0.1:0", server)
}

// addToxic changes both directions of a proxy. toxic is its JSON but for the
// direction.
func addToxic(p *toxiproxy.Proxy, toxic string) error {
	for _, direction := range []string{"upstream", "downstream"} {
		if _, err := p.Toxics.AddToxicJson(strings.NewReader(fmt.Sprintf(`{"stream": %q, %s}`, direction, toxic))); err != nil {
			return err
		}
	}
	return nil
}

// measured is a measure of what has just ended.
func (n *network) measured(took time.Duration) measure {
	return measure{time: took, traffic: n.relay.snapshot()}
}

func (n *network) close() {
	n.relay.close()
	if n.proxy != nil {
		n.proxy.Stop()
	}
}

// line limits the rate of all connections of a proxy together. Toxiproxy's own
// bandwidth toxic gives each connection a line of its own, so that a program
// with four connections would be four times as fast.
type line struct {
	Rate int64 `json:"rate"` // kB/s

	mu   sync.Mutex
	free time.Time // when all that is on its way has passed
}

func init() { toxics.Register("line", new(line)) }

// Pipe implements toxics.Toxic. The chunks of several connections take turns.
func (l *line) Pipe(stub *toxics.ToxicStub) {
	for {
		select {
		case <-stub.Interrupt:
			return
		case chunk := <-stub.Input:
			if chunk == nil {
				stub.Close()
				return
			}
			select {
			case <-time.After(l.pass(chunk)):
			case <-stub.Interrupt:
				stub.Output <- chunk
				return
			}
			stub.Output <- chunk
		}
	}
}

// pass returns how long it takes until the chunk has passed the line.
func (l *line) pass(chunk *stream.StreamChunk) time.Duration {
	l.mu.Lock()
	defer l.mu.Unlock()
	// From when the chunk arrived, not from now: a timer that was late for the
	// chunk before must not make the line slower.
	if l.free.Before(chunk.Timestamp) {
		l.free = chunk.Timestamp
	}
	l.free = l.free.Add(time.Duration(len(chunk.Data)) * time.Millisecond / time.Duration(l.Rate))
	chunk.Timestamp = l.free // the delay counts from here
	return time.Until(l.free)
}
