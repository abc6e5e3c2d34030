package cache

import (
	"fmt"
	"log/slog"
	"math/rand"
	"testing"
	"time"
)

// BenchmarkDisk puts 6,000 values of about 5 kB, and gets them again.
func BenchmarkDisk(b *testing.B) {
	random := rand.New(rand.NewSource(1))
	values := make([][]byte, 6000)
	var sum int64
	for i := range values {
		values[i] = make([]byte, 1000+random.Intn(9000))
		random.Read(values[i])
		sum += int64(len(values[i]))
	}
	key := func(i int) string { return fmt.Sprintf("1700000000/%d//0/131072/INBOX", i) }
	var put, get time.Duration
	var used, disk int64
	for b.Loop() {
		dir := b.TempDir()
		d, err := OpenDisk(dir, 2<<30, slog.New(slog.DiscardHandler))
		if err != nil {
			b.Fatal(err)
		}
		begin := time.Now()
		for i, v := range values {
			d.Put(key(i), v)
		}
		d.flush()
		put += time.Since(begin)
		begin = time.Now()
		for i := range values {
			if _, ok := d.Get(key(i)); !ok {
				b.Fatal("lost")
			}
		}
		get += time.Since(begin)
		used += d.Used()
		disk += taken(dir)
		d.Close()
	}
	n := float64(b.N)
	b.ReportMetric(put.Seconds()/n, "s/put-all")
	b.ReportMetric(float64(get.Microseconds())/n/float64(len(values)), "µs/get")
	b.ReportMetric(float64(used)/n/float64(sum), "used/value")
	b.ReportMetric(float64(disk)/n/float64(sum), "disk/value")
	b.ReportMetric(0, "ns/op")
}
