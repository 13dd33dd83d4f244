package multislot_test

import (
	"strings"
	"testing"

	"github.com/seed-2b0d76a6/respool/internal/multislot"
	"github.com/seed-2b0d76a6/respool/resp"
)

func TestInfoSumsTheNodes(t *testing.T) {
	one := "# Server\r\nredis_version:7.0.15\r\n\r\n# Clients\r\nconnected_clients:2\r\nmaxclients:10\r\n\r\n# Memory\r\nused_memory:1048576\r\n" +
		"used_memory_human:1.00M\r\ntotal_system_memory:64\r\n\r\n# Stats\r\ntotal_commands_processed:5\r\nkeyspace_hits:1\r\nexpired_stale_perc:0.00\r\n\r\n" +
		"# Keyspace\r\ndb0:keys=3,expires=1,avg_ttl=100\r\n"
	two := strings.NewReplacer("clients:2", "clients:3", "processed:5", "processed:7", "keys=3,expires=1,avg_ttl=100", "keys=4,expires=3,avg_ttl=500",
		"used_memory:1048576", "used_memory:524288").Replace(one) + "db11:keys=1,expires=0,avg_ttl=0\r\ndb2:keys=9,expires=0,avg_ttl=0\r\n"
	none := one[:strings.Index(one, "db0")]
	want := strings.NewReplacer("clients:2", "clients:7", "processed:5", "processed:17", "keyspace_hits:1", "keyspace_hits:3",
		"used_memory:1048576", "used_memory:2621440", "1.00M", "2.50M",
		"db0:keys=3,expires=1,avg_ttl=100", "db0:keys=7,expires=4,avg_ttl=400\r\ndb2:keys=9,expires=0,avg_ttl=0\r\ndb11:keys=1,expires=0,avg_ttl=0").Replace(one)
	bulk := func(text string) []byte { return resp.AppendBulkString(nil, text) }
	if got := multislot.MergeInfo([][]byte{bulk(one), bulk(two), bulk(none)}); string(got) != string(bulk(want)) {
		t.Errorf("%q\nwant %q", got, bulk(want))
	}
	verbatim := []byte("=29\r\ntxt:total_net_input_bytes:4\r\n\r\n")
	if got := multislot.MergeInfo([][]byte{verbatim, verbatim}); string(got) != "=29\r\ntxt:total_net_input_bytes:8\r\n\r\n" {
		t.Errorf("%q", got)
	}
	if got := multislot.MergeInfo([][]byte{bulk(one), []byte("-NOPERM no\r\n")}); string(got) != "-NOPERM no\r\n" {
		t.Errorf("%q", got)
	}
}

func TestInfoSumsCommandsAndErrors(t *testing.T) {
	one := "# Commandstats\r\ncmdstat_set:calls=2,usec=5,usec_per_call=2.50,rejected_calls=1,failed_calls=0\r\n" +
		"cmdstat_config|get:calls=1,usec=4,usec_per_call=4.00,rejected_calls=0,failed_calls=0\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=1\r\n"
	two := "# Commandstats\r\ncmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=3,failed_calls=0\r\n" +
		"cmdstat_set:calls=1,usec=3,usec_per_call=3.00,rejected_calls=0,failed_calls=2\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=2\r\nerrorstat_OOM:count=4\r\n"
	want := "# Commandstats\r\ncmdstat_config|get:calls=1,usec=4,usec_per_call=4.00,rejected_calls=0,failed_calls=0\r\n" +
		"cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=3,failed_calls=0\r\n" +
		"cmdstat_set:calls=3,usec=8,usec_per_call=2.67,rejected_calls=1,failed_calls=2\r\n\r\n# Errorstats\r\nerrorstat_ERR:count=3\r\nerrorstat_OOM:count=4\r\n"
	got := multislot.MergeInfo([][]byte{resp.AppendBulkString(nil, one), resp.AppendBulkString(nil, two)})
	if string(got) != string(resp.AppendBulkString(nil, want)) {
		t.Errorf("%q\nwant %q", got, want)
	}
}
