package respool_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log"
	"slices"
	"strings"
	"sync"

	"github.com/alicebob/miniredis/v2"

	"github.com/seed-2b0d76a6/respool"
	"github.com/seed-2b0d76a6/respool/resp"
)

// demo returns a client of a server inside the program.
func demo() (c *respool.Client, end func()) {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	c, err = respool.Open(context.Background(), "redis://"+server.Addr()+"?max_connections=8")
	if err != nil {
		log.Fatal(err)
	}
	return c, func() {
		_ = c.Close(context.Background())
		server.Close()
	}
}

func ExampleOpen() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := respool.Open(ctx, "redis://"+server.Addr()+"?max_connections=16&socket_timeout=2")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	if err := client.Do(ctx, "SET", "name", "value", "EX", 60).Err(); err != nil {
		log.Fatal(err)
	}
	name, err := client.Do(ctx, "GET", "name").Text()
	fmt.Println(name, err)
	// Output: value <nil>
}

func ExampleClient_Do() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	visits, err := client.Do(ctx, "INCR", "visits").Int64()
	fmt.Println(visits, err)

	_, err = client.Do(ctx, "GET", "nobody").Text()
	fmt.Println(errors.Is(err, respool.ErrNil))

	var refused *respool.ServerError
	err = client.Do(ctx, "LPUSH", "visits", "x").Err()
	fmt.Println(errors.As(err, &refused), refused.Code)
	// Output:
	// 1 <nil>
	// true
	// true WRONGTYPE
}

func ExampleReply() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	client.Do(ctx, "HSET", "user:1", "name", "Ada", "logins", 3)
	user, err := client.Do(ctx, "HGETALL", "user:1").Map()
	if err != nil {
		log.Fatal(err)
	}
	name, _ := user["name"].Text()
	logins, _ := user["logins"].Int64()
	fmt.Println(name, logins)

	client.Do(ctx, "RPUSH", "queue", "a", "b", "c")
	queue, err := client.Do(ctx, "LRANGE", "queue", 0, -1).Texts()
	fmt.Println(queue, err)
	// Output:
	// Ada 3
	// [a b c] <nil>
}

func ExampleClient_Pipeline() {
	client, end := demo()
	defer end()

	replies, err := client.Pipeline().
		Do("SET", "greeting", "hello").
		Do("APPEND", "greeting", " world").
		Do("GET", "greeting").
		Exec(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	for _, r := range replies {
		fmt.Println(r)
	}
	// Output:
	// OK
	// 11
	// hello world
}

func ExampleClient_Transaction() {
	client, end := demo()
	defer end()

	replies, err := client.Transaction().
		Do("DECRBY", "account:1", 100).
		Do("INCRBY", "account:2", 100).
		Exec(context.Background())
	fmt.Println(replies, err)
	// Output: [-100 100] <nil>
}

func ExampleClient_Watch() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	client.Do(ctx, "SET", "stock", 1)
	_, err := client.Watch(ctx, []string{"stock"}, func(w *respool.Watched) error {
		left, err := w.Do(ctx, "GET", "stock").Int64()
		if err != nil {
			return err
		}
		client.Do(ctx, "SET", "stock", 0) // somebody else is faster
		w.Queue("SET", "stock", left-1)
		return nil
	})
	fmt.Println(errors.Is(err, respool.ErrConflict))
	// Output: true
}

func ExampleClient_WatchRetry() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	client.Do(ctx, "SET", "stock", 5)
	_, err := client.WatchRetry(ctx, 10, []string{"stock"}, func(w *respool.Watched) error {
		left, err := w.Do(ctx, "GET", "stock").Int64()
		if err != nil {
			return err
		}
		if left == 0 {
			return errors.New("sold out")
		}
		w.Queue("SET", "stock", left-1)
		return nil
	})
	fmt.Println(client.Do(ctx, "GET", "stock"), err)
	// Output: 4 <nil>
}

func ExampleClient_Acquire() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	conn, err := client.Acquire(ctx)
	if err != nil {
		log.Fatal(err)
	}
	defer conn.Release()

	conn.Do(ctx, "SELECT", 1)
	conn.Do(ctx, "SET", "k", "of db 1")
	fmt.Println(conn.Do(ctx, "GET", "k"))
	fmt.Println(client.Do(ctx, "GET", "k")) // other callers still use db 0
	// Output:
	// of db 1
	// (nil)
}

func ExampleClient_Subscribe() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	sub, err := client.Subscribe(ctx, "news")
	if err != nil {
		log.Fatal(err)
	}
	defer sub.Close()

	client.Do(ctx, "PUBLISH", "news", "it works")
	message, err := sub.Receive(ctx)
	fmt.Println(message.Channel, message.Payload, err)
	// Output: news it works <nil>
}

func ExampleScript() {
	client, end := demo()
	defer end()

	atMost := respool.NewScript(`
		local n = redis.call('INCR', KEYS[1])
		if n > tonumber(ARGV[1]) then return 0 end
		return n`)
	for range 3 {
		n, err := atMost.Run(context.Background(), client, []string{"counter"}, 2).Int64()
		fmt.Println(n, err)
	}
	// Output:
	// 1 <nil>
	// 2 <nil>
	// 0 <nil>
}

func ExampleClient_Scan() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	client.Do(ctx, "MSET", "user:1", "Ada", "user:2", "Grace", "other", "x")
	var users []string
	for key, err := range client.Scan(ctx, respool.ScanOptions{Match: "user:*", Count: 100}) {
		if err != nil {
			log.Fatal(err)
		}
		users = append(users, key)
	}
	slices.Sort(users)
	fmt.Println(users)
	// Output: [user:1 user:2]
}

// DoTo writes a large value to a file, without the whole value in memory.
func ExampleClient_DoTo() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	client.Do(ctx, "SET", "backup", strings.Repeat("x", 1<<20))
	n, err := client.DoTo(ctx, io.Discard, "GET", "backup")
	fmt.Println(n, err)
	// Output: 1048576 <nil>
}

func ExampleClient_Stats() {
	client, end := demo()
	defer end()

	conn, err := client.Acquire(context.Background())
	if err != nil {
		log.Fatal(err)
	}
	st := client.Stats()
	fmt.Println(st.Lanes, "lanes,", st.Dedicated, "dedicated, of", st.MaxConnections)
	conn.Release()
	// Output: 4 lanes, 1 dedicated, of 8
}

// A hundred callers share at most 8 sockets.
func Example_caller() {
	client, end := demo()
	defer end()
	ctx := context.Background()

	var callers sync.WaitGroup
	for range 100 {
		callers.Go(func() { client.Do(ctx, "INCR", "visits") })
	}
	callers.Wait()
	fmt.Println(client.Do(ctx, "GET", "visits"), client.Stats().Sockets() <= 8)
	// Output: 100 true
}

// The bound applies to each node. Stats reports the address of the node.
func Example_node() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := respool.Open(ctx, "redis://"+server.Addr())
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	st := client.Stats()
	fmt.Println(st.Addr == server.Addr(), st.MaxConnections)
	// Output: true 16
}

// Every socket is in exactly one state of the ledger.
func Example_ledger() {
	client, end := demo()
	defer end()

	st := client.Stats()
	sum := st.Dialing + st.Lanes + st.Idle + st.Dedicated + st.Subscribed + st.Closing
	fmt.Println(st.Sockets() == sum, sum <= st.MaxConnections)
	// Output: true true
}

// One lane carries the commands of many callers.
func Example_lane() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := respool.Open(ctx, "redis://"+server.Addr()+"?max_connections=2&lanes=1")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	var callers sync.WaitGroup
	for range 10 {
		callers.Go(func() { client.Do(ctx, "PING") })
	}
	callers.Wait()
	st := client.Stats()
	fmt.Println(st.Lanes, "lane,", st.Dials, "dial")
	// Output: 1 lane, 1 dial
}

// FrameLen finds the end of a frame, and Decode reads it.
func Example_frame() {
	received := []byte("$5\r\nhello\r\n:1")
	n, err := resp.FrameLen(received)
	if err != nil {
		log.Fatal(err)
	}
	value, _, err := resp.Decode(received[:n])
	fmt.Println(n, value.Kind == resp.BulkString, err)
	// Output: 11 true <nil>
}

// A client has one identity: here the database is 1.
func Example_identity() {
	server, err := miniredis.Run()
	if err != nil {
		log.Fatal(err)
	}
	defer server.Close()

	ctx := context.Background()
	client, err := respool.Open(ctx, "redis://"+server.Addr()+"/1")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	client.Do(ctx, "SET", "k", "of db 1")
	_, err = server.DB(0).Get("k")
	fmt.Println(client.Do(ctx, "GET", "k"), errors.Is(err, miniredis.ErrKeyNotFound))
	// Output: of db 1 true
}

// The epoch of a service rises with each new primary.
func Example_epoch() {
	ctx := context.Background()
	client, err := respool.Open(ctx, "redis+sentinel://s1:26379,s2:26379,s3:26379/mymaster")
	if err != nil {
		log.Fatal(err)
	}
	defer client.Close(ctx)

	service := client.Stats().Service
	fmt.Println(service.Epoch, service.Primary)
}
