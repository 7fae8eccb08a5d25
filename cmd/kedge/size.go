package main

import (
	"fmt"
	"strconv"
	"strings"
)

// parseSize reads a size as people write it: bytes, or a number with a unit.
// KB, MB, GB and TB count by 1000, KiB, MiB, GiB and TiB by 1024.
func parseSize(text string) (int64, error) {
	units := []struct {
		name string
		size float64
	}{{"KiB", 1 << 10}, {"MiB", 1 << 20}, {"GiB", 1 << 30}, {"TiB", 1 << 40},
		{"KB", 1e3}, {"MB", 1e6}, {"GB", 1e9}, {"TB", 1e12}, {"B", 1}, {"", 1}}
	text = strings.TrimSpace(text)
	for _, u := range units {
		if len(text) < len(u.name) || !strings.EqualFold(text[len(text)-len(u.name):], u.name) {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(text[:len(text)-len(u.name)]), 64)
		if err != nil || !(n >= 0) || n*u.size >= 1<<62 {
			break
		}
		return int64(n * u.size), nil
	}
	return 0, fmt.Errorf("%q is no size such as 20GB or 500MiB", text)
}

// noQuota is what a quota that says "none" means to the store.
const noQuota = -1

// parseQuota reads a size, or "none".
func parseQuota(text string) (int64, error) {
	if strings.EqualFold(strings.TrimSpace(text), "none") {
		return noQuota, nil
	}
	n, err := parseSize(text)
	if err != nil {
		err = fmt.Errorf("%w, nor none", err)
	}
	return n, err
}
