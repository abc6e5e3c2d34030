package wire

import "testing"

func TestPut(t *testing.T) {
	for _, test := range []struct {
		status        string
		old, validity uint32
		uid           uint32 // 0: none
	}{
		{"OK [COPYUID 38505 304 3956] done", 304, 38505, 3956},
		{"OK [COPYUID 38505 304,319:320 3956:3958] done", 319, 38505, 3957},
		{"OK [COPYUID 38505 304,319:320 3956:3958] done", 320, 38505, 3958},
		{"OK [COPYUID 38505 304,319:320 3956,4000:4001] done", 320, 38505, 4001},
		{"OK [COPYUID 38505 304,319:320 3956:3958] done", 305, 38505, 0},
		{"OK [COPYUID 38505 304:310 3956] too few", 305, 38505, 0},
		{"OK [COPYUID 1 4294967295 4294967295]", 1<<32 - 1, 1, 1<<32 - 1},
		{"OK [COPYUID 1 1:4294967295 1:4294967295]", 1 << 31, 1, 1 << 31},
		{"OK [APPENDUID 7 42] done", 0, 7, 42},
		{"OK [appenduid 7 42] done", 0, 7, 42},
		{"OK [APPENDUID 7 42:43] two", 0, 7, 0},
		{"OK [APPENDUID 7 42] of nothing that was there", 5, 7, 0},
		{"OK [COPYUID 7 3 4] of what was there", 0, 7, 0},
	} {
		status, ok := parseStatus(test.status)
		if !ok {
			t.Fatal(test.status)
		}
		put, ok := ParsePut(status)
		uid, found := put.New(test.old)
		if !ok || put.UIDValidity != test.validity || found != (test.uid != 0) || found && uid != test.uid {
			t.Errorf("%s, of %d: %v %v, %d %v", test.status, test.old, put, ok, uid, found)
		}
	}
	for _, bad := range []string{"OK [COPYUID 7 3]", "OK [COPYUID 0 3 4]", "OK [COPYUID 7 3 x]", "OK [COPYUID 7 0 4]", "OK [COPYUID 7 1:* 4]",
		"OK [COPYUID 7  ]", "OK [COPYUID]", "OK [APPENDUID 7]", "OK [APPENDUID 7 4294967296]", "OK [APPENDUID x 4]", "OK [UIDNEXT 4]", "OK done"} {
		status, _ := parseStatus(bad)
		if put, ok := ParsePut(status); ok {
			t.Errorf("%s: %v", bad, put)
		}
	}
}
