package share

import (
	"context"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"kedge/cellgraph"
)

func TestDetectors(t *testing.T) {
	rules, err := detectors()
	if err != nil {
		t.Fatal(err)
	}
	many := func(s string, n int) string { return strings.Repeat(s, n)[:n] }
	tried := 0
	// Made up in parts, so that this file has nothing that looks like a secret.
	for name, text := range map[string]string{
		"private key":            "-----BEGIN " + "RSA PRIVATE KEY-----\nMII",
		"AWS access key":         "x = 'AKIA" + many("ABCD2345", 16) + "'",
		"AWS secret key":         "aws_secret_access_key = '" + many("aB3/", 40) + "'",
		"GitHub token":           "ghp" + "_" + many("aB3", 36),
		"GitLab token":           "glpat" + "-" + many("aB3-", 20),
		"Slack token":            "xoxb" + "-" + many("123-ab", 30),
		"Slack webhook":          "https://hooks.slack.com/" + "services/T0AB/B0CD/" + many("aB3", 24),
		"Stripe key":             "sk_" + "live_" + many("aB3", 24),
		"OpenAI key":             "sk-" + "proj-" + many("aB3", 48),
		"Anthropic key":          "sk-" + "ant-api03-" + many("aB3", 48),
		"Hugging Face token":     "hf" + "_" + many("aBcD", 34),
		"Google API key":         "AI" + "za" + many("aB3_-", 35),
		"Google OAuth secret":    "GOCSPX" + "-" + many("aB3", 28),
		"Azure storage key":      "AccountKey" + "=" + many("aB3+/", 86) + "==",
		"PyPI token":             "pypi-" + "AgEIcHlw" + many("aB3", 60),
		"npm token":              "npm" + "_" + many("aB3", 36),
		"SendGrid key":           "SG" + "." + many("aB3", 22) + "." + many("aB3", 43),
		"Databricks token":       "dapi" + many("0123456789abcdef", 32),
		"JSON web token":         "eyJ" + many("aB3", 20) + ".eyJ" + many("aB3", 30) + "." + many("aB3", 40),
		"password in an address": "postgresql://ada:" + "pa55word" + "@db.example.org/x",
		"password or token":      `password = "` + many("c0rrect", 14) + `"`,
	} {
		i := slices.IndexFunc(rules, func(d detector) bool { return d.Name == name })
		if i < 0 {
			t.Errorf("no rule %s", name)
			continue
		}
		if !rules[i].in([]byte("before " + text + " after")) {
			t.Errorf("%s is not found", name)
		}
		if encoded, _ := json.Marshal(text); !rules[i].in(encoded) {
			t.Errorf("%s is not found in JSON", name)
		}
		tried++
	}
	if tried != len(rules) {
		t.Errorf("%d of %d rules have an example", tried, len(rules))
	}
	for _, text := range []string{"token = get_token()", `password = "your-password-1"`, `api_key="EXAMPLE1234"`, "https://example.org/a:b@c", "task-force", "eyJhbGci", `"tokenizer": "wordpiece"`, "AKIA", `secret = "abcdefgh"`, "tokens: 1234567890"} {
		for _, d := range rules {
			if d.in([]byte(text)) {
				t.Errorf("%q: %s", text, d.Name)
			}
		}
	}
}

func TestSecretsAreFoundWhereverTheyLie(t *testing.T) {
	ctx, ada, folder := context.Background(), newHome(t), t.TempDir()
	snap := ada.recorded(t, folder)
	token := "ghp" + "_" + strings.Repeat("aB3", 12)
	if err := os.WriteFile(filepath.Join(folder, "in.csv"), []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	m, _, err := Collect(ctx, Offer{Store: ada.store, Snapshot: snap, Created: time.Now(), Env: bare{}})
	if err != nil {
		t.Fatal(err)
	}
	put := func(text string) cellgraph.Digest {
		id, err := ada.store.PutBlob(ctx, []byte(text))
		if err != nil {
			t.Fatal(err)
		}
		return id
	}
	if found, err := Secrets(ctx, ada.store, m); err != nil || len(found) > 0 {
		t.Fatal(found, err)
	}
	for i := range m.Files {
		switch m.Files[i].Path {
		case "nb.ipynb":
			m.Files[i].Content = put(`{"cells": [{"id": "a", "source": ["` + token + `"], "outputs": []}, {"source": "", "outputs": [{"text": "` + token + `"}]}]}`)
		case "out/big.bin":
			m.Files[i].Content = put("\x00\x01" + token + "\x00")
		}
	}
	m.Variables[0].Shown = token
	text := m.State.Traces[0]
	var trace cellgraph.Trace
	if err := json.Unmarshal([]byte(text), &trace); err != nil {
		t.Fatal(err)
	}
	trace.Effect.Groups = []cellgraph.Group{{Names: []string{"y", "z"}, Payload: put(`{"stream":"` + put("\x80\x05\x8c\x28"+token+"\x94.").String() + `","buffers":[]}`)}}
	trace.Effect.Ambient = []cellgraph.Ambient{{Name: "environ", Payload: put(token)}}
	body, _ := json.Marshal(trace)
	m.State.Traces[0] = string(body)
	found, err := Secrets(ctx, ada.store, m)
	if err != nil {
		t.Fatal(err)
	}
	var places []string
	for _, s := range found {
		if s.Rule != "GitHub token" {
			t.Error(s)
		}
		places = append(places, s.Where)
	}
	slices.Sort(places)
	if want := []string{"an output of cell 2", "cell a", "file out/big.bin", "process state environ", "variable x", "variable y, z"}; !slices.Equal(places, want) {
		t.Errorf("%q", places)
	}
}
