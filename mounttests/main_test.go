// Package mounttests has the tests that mount for real, but for those at the
// top, which are the contract in short.
package mounttests

import (
	"testing"

	"imapfs/internal/harness"
)

func TestMain(m *testing.M) { harness.Main(m) }
