package monitoring

import (
	"github.com/seed-2b0d76a6/respool/monitor"
)

// In expressions, SAME merges the reports of several monitors on one server, and ALL adds up the
// reports of a service's processes on one pool.

// whenFull ends the text of an alert on a server that is full, or may soon be.
const whenFull = ". While the server is full, use a connection of the monitor (respool who http://HOST:8637), or wait for a free one (--wait 60s)"

// serverAlerts are alerts on servers and monitors that are down.
func serverAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolServerDown",
			Expr:  "SAME(respool_server_up{MONITOR}) == 0 unless SAME(respool_server_full{MONITOR}) == 1",
			For:   "1m", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $labels.node }} does not answer",
				"No monitor can reach it. Check that it runs and that its port is reachable: respool ping redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolServerFull",
			Expr:  "SAME(respool_server_full{MONITOR}) == 1",
			Keep:  "2m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $labels.node }} is full: it refuses all new connections",
				"maxclients is reached, so administrators cannot connect either. Stop the largest client, or run CONFIG SET maxclients over an open connection. Then find the holders: respool who redis://{{ $labels.node }}" + whenFull,
			},
		},
		{
			Alert: "RespoolPrimaryUnknown",
			Expr:  "SAME(respool_service_primary_known{MONITOR}) == 0",
			For:   "30s", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"the primary of {{ $labels.service }} is unknown",
				"The sentinels report no primary, or no sentinel answers, or no node reports the cluster. Check the sentinels or the nodes in the monitor's URL: respool ping URL",
			},
		},
		{
			Alert: "RespoolSlotsUncovered",
			Expr:  "SAME(respool_cluster_slots_uncovered{MONITOR}) > 0",
			For:   "30s", Keep: "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`no node serves {{ printf "%.0f" $value }} slots of the {{ $labels.service }}`,
				"Commands on keys in these slots fail, and with cluster-require-full-coverage those on all keys. Start the failed nodes, or assign the slots to others. To see the slots and the nodes: respool doctor URL",
			},
		},
		{
			Alert: "RespoolReplicaMissing",
			Expr:  "SAME(respool_cluster_shards_without_replica{MONITOR}) > 0",
			For:   "5m", Keep: "2m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} primaries of the {{ $labels.service }} have no replica that works`,
				"If such a primary fails, its slots have no node. Start the failed replica, or add another. To see which: respool doctor URL",
			},
		},
		{
			Alert: "RespoolNodeHot",
			Expr: "SAME(respool_cluster_hottest_ratio{MONITOR}) > 2" +
				" and on (service) max by (service) (respool_cluster_hottest_connections{MONITOR}) >= 40",
			For: "10m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`a primary of the {{ $labels.service }} has {{ printf "%.1f" $value }} times the connections of the others`,
				"It reaches its maxclients first. A hot key or hash tag, or clients that use one node only. To see the node and the holders: respool who URL" + whenFull,
			},
		},
		{
			Alert: "RespoolMonitorGone",
			Expr:  "absent(respool_monitor_nodes{MONITOR})",
			For:   "5m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"no monitor watches the Redis servers",
				"Prometheus scrapes no monitor, so the other server alerts cannot fire. Check that the monitor runs, and check its target in Prometheus. Until then, check the servers by hand: respool doctor URL",
			},
		},
		{
			Alert: "RespoolMonitorStuck",
			Expr:  "time() - SAME(respool_monitor_last_change_timestamp_seconds{MONITOR}) > 300",
			For:   "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"the monitor has not updated its data for {{ $value | humanizeDuration }}",
				"Its pages work, but it no longer reads the servers, so its numbers are old. Restart it. Until then, check the servers by hand: respool doctor URL",
			},
		},
	}
}

// connectionAlerts are alerts on a server's number and rate of connections.
func connectionAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolConnectionsRejected",
			Expr:  "SAME(increase(respool_server_rejected_connections_total{MONITOR}[5m])) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`{{ $labels.node }} rejected {{ printf "%.0f" $value }} connections within 5 minutes`,
				"maxclients was reached, so services get errors. Find the service that grows, limit its pool, raise maxclients meanwhile: respool who redis://{{ $labels.node }}" + whenFull,
			},
		},
		{
			Alert: "RespoolOccupancyCritical",
			Expr:  "SAME(respool_occupancy_ratio{MONITOR}) > 0.85",
			For:   "2m", Keep: "2m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				"{{ $value | humanizePercentage }} of maxclients is in use at {{ $labels.node }}",
				"At the limit the server refuses everyone. Find who holds the connections, limit the largest pools, raise maxclients meanwhile: respool who redis://{{ $labels.node }}" + whenFull,
			},
		},
		{
			Alert: "RespoolOccupancyHigh",
			Expr:  "SAME(respool_occupancy_ratio{MONITOR}) > 0.70",
			For:   "10m", Keep: "10m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				"{{ $value | humanizePercentage }} of maxclients is in use at {{ $labels.node }}",
				"A deployment or a slow command may fill the server. Find who holds the connections (respool who redis://{{ $labels.node }}), and size their pools: respool plan --help" + whenFull,
			},
		},
		{
			Alert: "RespoolExhaustionSoon",
			Expr:  "min without (instance, pod) (respool_exhaustion_seconds{MONITOR}) < 4 * 3600",
			For:   "2m", Keep: "15m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				"{{ $labels.node }} is full in {{ $value | humanizeDuration }} if connections grow at this rate",
				"Connections are opened but not closed. Find the service that grows, and limit its pool: respool doctor redis://{{ $labels.node }}" + whenFull,
			},
		},
		{
			Alert: "RespoolConnectionStorm",
			Expr:  "SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) > 100",
			For:   "5m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} connections a second are opened to {{ $labels.node }}`,
				"Clients do not reuse their connections, or lose them. Find the service that opens them: respool doctor redis://{{ $labels.node }}",
			},
		},
		{
			Alert: "RespoolNoReuse",
			Expr: "SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) / SAME(rate(respool_server_commands_total{MONITOR}[5m])) > 0.01" +
				" and SAME(rate(respool_server_connections_opened_total{MONITOR}[5m])) >= 1",
			For: "5m", Keep: "5m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"{{ $value | humanizePercentage }} of the commands to {{ $labels.node }} open a new connection",
				"A service opens a connection for each request, instead of one pool in each process. Find the service: respool doctor redis://{{ $labels.node }}",
			},
		},
	}
}

// poolAlerts are alerts on the pools of services.
func poolAlerts() []alertRule {
	return []alertRule{
		{
			Alert: "RespoolPoolTimeouts",
			Expr:  "ALL(increase(db_client_connection_timeouts_total{REDIS}[5m])) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Page),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} callers of the pool {{ $labels.db_client_connection_pool_name }} timed out waiting for a connection within 5 minutes`,
				"Each of them got an error. The pool is too small for its load, or its connections are held for too long. Size the pool: respool plan --help",
			},
		},
		{
			Alert: "RespoolPoolWaiting",
			Expr:  "ALL(db_client_connection_pending_requests{REDIS}) > 0",
			For:   "1m", Keep: "1m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				`{{ printf "%.0f" $value }} callers wait for a connection of the pool {{ $labels.db_client_connection_pool_name }}`,
				"Callers waited at every scrape. Raise max_connections, or hold connections for less time. Size the pool: respool plan --help",
			},
		},
		{
			Alert: "RespoolPoolDialsFail",
			Expr:  "ALL(rate(respool_pool_dial_failures_total[5m])) > 0",
			For:   "5m", Keep: "2m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"the pool {{ $labels.db_client_connection_pool_name }} cannot open connections",
				"Dials or handshakes have failed for 5 minutes. Check the network, the password and maxclients, from the service's host: respool ping URL",
			},
		},
		{
			Alert:  "RespoolPoolLeak",
			Expr:   "ALL(increase(respool_pool_leaks_total[15m])) > 0",
			Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				`callers of the pool {{ $labels.db_client_connection_pool_name }} held {{ printf "%.0f" $value }} connections for longer than the leak threshold`,
				"The callers may never release them. The service's leak event holds the stack that acquired the connection. To see how long they have been idle: respool who URL --idle 10m --by service,cmd",
			},
		},
		{
			Alert: "RespoolBlockingDedicated",
			Expr:  "ALL(respool_pool_blocking_dedicated) > 0",
			For:   "1m", Keep: "2m", Labels: alertLabels(monitor.Warn),
			Annotations: ruleTexts{
				"blocking commands of the pool {{ $labels.db_client_connection_pool_name }} use dedicated connections",
				"The server does not report changes of keys, so each blocking command that waits holds a connection. The user lacks a permission, or the server or a proxy lacks CLIENT TRACKING. Examine the server with the URL of the service: respool doctor URL",
			},
		},
		{
			Alert: "RespoolElementsLost",
			Expr:  "ALL(sum without (db_operation_name) (increase(respool_pool_elements_lost_total[15m]))) > 0",
			Keep:  "1m", Labels: alertLabels(monitor.Ticket),
			Annotations: ruleTexts{
				`blocking commands of the pool {{ $labels.db_client_connection_pool_name }} lost up to {{ printf "%.0f" $value }} elements within 15 minutes`,
				"They could not return to their key, which the service's log names, or a connection broke after a command was sent and before its reply. Check that the server is stable: respool doctor URL",
			},
		},
	}
}
