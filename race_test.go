//go:build race

package main

// The race detector multiplies memory: no statement about it then.
const raceEnabled = true
