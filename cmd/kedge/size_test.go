package main

import "testing"

func TestSizes(t *testing.T) {
	for text, want := range map[string]int64{
		"0": 0, "12": 12, "20GB": 20e9, " 1.5 gib ": 3 << 29, "500MiB": 500 << 20, "1kb": 1000, "7B": 7, "none": noQuota, "None": noQuota,
	} {
		if got, err := parseQuota(text); err != nil || got != want {
			t.Errorf("%q: %d, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "GB", "-1", "1e30", "NaN", "5 parsecs", "1 000"} {
		if got, err := parseQuota(text); err == nil {
			t.Errorf("%q is %d", text, got)
		}
	}
}

func TestStoreConfig(t *testing.T) {
	t.Setenv("XDG_CONFIG_HOME", t.TempDir())
	for _, test := range []struct {
		quota, network string
		want           int64
		anywhere, fine bool
	}{{"", "", 0, false, true}, {"2GB", "1", 2e9, true, true}, {"none", "0", noQuota, false, true}, {"0", "", 1, false, true},
		{"much", "", 0, false, false}, {"", "perhaps", 0, false, false}} {
		t.Setenv("KEDGE_QUOTA", test.quota)
		t.Setenv("KEDGE_NETWORK", test.network)
		cfg, err := storeConfig("/d")
		if (err == nil) != test.fine || err == nil && (cfg.Quota != test.want || cfg.AnyFileSystem != test.anywhere) {
			t.Errorf("%+v: %+v, %v", test, cfg, err)
		}
	}
}
