package wire

import (
	"bytes"
	"encoding/json"
	"errors"
	"reflect"
	"testing"
)

func sample() Message {
	return Message{
		Idents: [][]byte{[]byte("peer")}, Header: Header{MsgID: "1", MsgType: "x", Version: "5.4"},
		Metadata: json.RawMessage(`{}`), Content: json.RawMessage(`{"a":1}`), Buffers: [][]byte{{0, 1}, {}},
	}
}

func TestRoundTrip(t *testing.T) {
	key := []byte("k")
	got, err := Decode(Encode(sample(), key), key)
	if err != nil {
		t.Fatal(err)
	}
	want := sample()
	if got.Header != want.Header || got.Parent != (Header{}) || !bytes.Equal(got.Content, want.Content) ||
		!reflect.DeepEqual(got.Idents, want.Idents) || len(got.Buffers) != 2 {
		t.Fatalf("got %+v", got)
	}
}

func TestRefuses(t *testing.T) {
	key := []byte("k")
	if _, err := Decode(Encode(sample(), []byte("other")), key); !errors.Is(err, ErrSignature) {
		t.Errorf("other key: %v", err)
	}
	changed := Encode(sample(), key)
	changed[6] = []byte(`{"a":2}`)
	if _, err := Decode(changed, key); !errors.Is(err, ErrSignature) {
		t.Errorf("changed content: %v", err)
	}
	if _, err := Decode(Encode(sample(), key)[:5], key); !errors.Is(err, ErrFrame) {
		t.Errorf("short: %v", err)
	}
	m := sample()
	m.Idents = make([][]byte, MaxIdents+1)
	if _, err := Decode(Encode(m, key), key); !errors.Is(err, ErrFrame) {
		t.Errorf("too many idents: %v", err)
	}
	m = sample()
	m.Content = json.RawMessage(`null`)
	if _, err := Decode(Encode(m, key), key); !errors.Is(err, ErrFrame) {
		t.Errorf("null content: %v", err)
	}
}

func FuzzDecode(f *testing.F) {
	f.Add([]byte("<IDS|MSG>\n\n{}\n{}\n{}\n{}\nbuf"))
	f.Add([]byte("id\n<IDS|MSG>\n\n{\"msg_id\":\"a\"}\n{}\n{}\n{}"))
	f.Fuzz(func(t *testing.T, b []byte) {
		frames := bytes.Split(b, []byte("\n"))
		m, err := Decode(frames, nil)
		if err != nil {
			if !errors.Is(err, ErrFrame) {
				t.Fatalf("unnamed error %v", err)
			}
			return
		}
		again, err := Decode(Encode(m, []byte("k")), []byte("k"))
		if err != nil || again.Header != m.Header || !bytes.Equal(again.Content, m.Content) {
			t.Fatalf("round trip: %v", err)
		}
	})
}

func TestSetLeavesOtherBytes(t *testing.T) {
	for _, test := range [][3]string{
		{`{"a": 1,  "session":"old" , "b":[{"session":2}]}`, `session`, `{"a": 1,  "session":"new" , "b":[{"session":2}]}`},
		{`{ "x":{"session":"in"} }`, `session`, `{ "x":{"session":"in"} , "session":"new"}`},
		{`{}`, `s`, `{"s":"new"}`},
		{`{"session": null}`, `session`, `{"session": "new"}`},
	} {
		got, err := Set([]byte(test[0]), test[1], json.RawMessage(`"new"`))
		if err != nil || string(got) != test[2] {
			t.Errorf("%s: %s, %v", test[0], got, err)
		}
	}
	for _, bad := range []string{"", "[]", "{", `{"a":}`, `{"a":1`} {
		if _, err := Set([]byte(bad), "k", json.RawMessage("1")); !errors.Is(err, ErrFrame) {
			t.Errorf("%q: %v", bad, err)
		}
	}
}

func FuzzSet(f *testing.F) {
	f.Add([]byte(`{"a":{"b":1},"session":"x"}`), "session")
	f.Fuzz(func(t *testing.T, raw []byte, key string) {
		got, err := Set(raw, key, json.RawMessage(`"v"`))
		if err != nil || !json.Valid(raw) {
			return
		}
		var m map[string]json.RawMessage
		if err := json.Unmarshal(got, &m); err != nil {
			t.Fatalf("%s became %s: %v", raw, got, err)
		}
	})
}
