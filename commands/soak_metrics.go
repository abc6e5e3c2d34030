//go:build soak

package commands

import (
	"expvar"
	"net"
	"net/http"
	_ "net/http/pprof" // /debug/pprof/
	"os"
	"runtime"
	"runtime/metrics"
)

// With the build tag soak, which only the benchmark sets, imapfs answers on a
// unix socket how many goroutines it has and how much of its heap is in use
// (/debug/vars), and shows them (/debug/pprof/), until the process ends.
func init() {
	expvar.Publish("goroutines", expvar.Func(func() any { return runtime.NumGoroutine() }))
	expvar.Publish("live", expvar.Func(func() any {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}} // by the last collection
		metrics.Read(live)
		return live[0].Value.Uint64()
	}))
	if socket := os.Getenv("IMAPFS_SOAK"); socket != "" {
		if l, err := net.Listen("unix", socket); err == nil {
			go http.Serve(l, nil)
		}
	}
}
