// Command asynq-workers runs tasks of asynq with many workers.
//
//	go run . [-workers 200] [-tasks 5000] [-server PORT] PORT
//
// PORT is the target of the workers: a Redis server, or a gateway in front of it. -server is the Redis server itself,
// whose connections are counted.
package main

import (
	"context"
	"flag"
	"fmt"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"time"

	"github.com/hibiken/asynq"
	"github.com/redis/go-redis/v9"
)

func main() {
	workers := flag.Int("workers", 200, "number of workers")
	tasks := flag.Int("tasks", 5000, "number of tasks")
	server := flag.String("server", "", "port of the server whose connections are counted")
	flag.Parse()
	port := flag.Arg(0)
	if port == "" {
		flag.Usage()
		os.Exit(2)
	}
	if *server == "" {
		*server = port
	}
	if err := run("127.0.0.1:"+port, "127.0.0.1:"+*server, *workers, *tasks); err != nil {
		fmt.Fprintln(os.Stderr, "asynq-workers:", err)
		os.Exit(1)
	}
}

func run(addr, server string, workers, tasks int) error {
	ctx, cancel := context.WithTimeout(context.Background(), 3*time.Minute)
	defer cancel()
	opt := asynq.RedisClientOpt{Addr: addr}
	monitor := redis.NewClient(&redis.Options{Addr: server, PoolSize: 1})
	defer monitor.Close()
	if err := monitor.FlushDB(ctx).Err(); err != nil {
		return err
	}
	var done, failed atomic.Int64
	srv := asynq.NewServer(opt, asynq.Config{Concurrency: workers, LogLevel: asynq.FatalLevel,
		TaskCheckInterval: 100 * time.Millisecond,
		ErrorHandler:      asynq.ErrorHandlerFunc(func(context.Context, *asynq.Task, error) { failed.Add(1) })})
	mux := asynq.NewServeMux()
	mux.HandleFunc("example", func(context.Context, *asynq.Task) error {
		time.Sleep(time.Millisecond)
		done.Add(1)
		return nil
	})
	if err := srv.Start(mux); err != nil {
		return err
	}
	defer srv.Shutdown()
	client := asynq.NewClient(opt)
	defer client.Close()
	began := time.Now()
	for i := range tasks {
		if _, err := client.Enqueue(asynq.NewTask("example", []byte(strconv.Itoa(i)))); err != nil {
			return err
		}
	}
	peak := 0
	for done.Load() < int64(tasks) && ctx.Err() == nil {
		info, err := monitor.Info(ctx, "clients").Result()
		if err != nil {
			return err
		}
		for line := range strings.Lines(info) {
			if n, ok := strings.CutPrefix(strings.TrimSpace(line), "connected_clients:"); ok {
				clients, _ := strconv.Atoi(n)
				peak = max(peak, clients-1)
			}
		}
		time.Sleep(20 * time.Millisecond)
	}
	fmt.Printf("asynq, %d workers: %d of %d tasks in %.1f s, %d failed\n", workers, done.Load(), tasks, time.Since(began).Seconds(), failed.Load())
	fmt.Printf("peak: %d connections to the server\n", peak)
	if done.Load() != int64(tasks) || failed.Load() > 0 {
		return fmt.Errorf("not all tasks completed")
	}
	return nil
}
