// Requests from Go: net/http over connections of the mesh, by a DialContext through cgo.
//
//	request VM-FILES [HOST PORT [PATH]]
//	CGO_CFLAGS=$(pkg-config --cflags sidestep) CGO_LDFLAGS=$(pkg-config --libs sidestep) go build
//
// The mesh is in this process; there is no other.
package main

/*
#include <stdlib.h>
#include <sidestep.h>
*/
import "C"

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strconv"
	"time"
	"unsafe"
)

// Mesh is a process in a mesh.
type Mesh struct{ handle *C.sidestep_mesh }

// Error is what a call failed with.
type Error struct {
	Code              int // SIDESTEP_... of sidestep.h
	Message, NextStep string
}

func (err *Error) Error() string { return err.Message }

func failure(status C.sidestep_status, err *C.sidestep_error) error {
	if status == C.SIDESTEP_OK {
		return nil
	}
	defer C.sidestep_error_free(err)
	return &Error{
		Code:     int(status),
		Message:  C.GoString(C.sidestep_error_message(err)),
		NextStep: C.GoString(C.sidestep_error_next_step(err)),
	}
}

// Join joins the mesh that a folder of VM files describes.
func Join(vmFiles string, timeout time.Duration) (*Mesh, error) {
	folder := C.CString(vmFiles)
	defer C.free(unsafe.Pointer(folder))
	mesh := &Mesh{}
	var failed *C.sidestep_error
	status := C.sidestep_join_vm_files(folder, &mesh.handle, &failed)
	if err := failure(status, failed); err != nil {
		return nil, err
	}
	status = C.sidestep_wait_ready(mesh.handle, C.int64_t(timeout.Milliseconds()), &failed)
	if err := failure(status, failed); err != nil {
		mesh.Close()
		return nil, err
	}
	return mesh, nil
}

// DialContext is for http.Transport, which speaks HTTP/1.1 over it.
func (mesh *Mesh) DialContext(ctx context.Context, _, address string) (net.Conn, error) {
	host, service, err := net.SplitHostPort(address)
	if err != nil {
		return nil, err
	}
	port, err := strconv.ParseUint(service, 10, 16)
	if err != nil {
		return nil, err
	}
	timeout := C.int64_t(-1)
	if deadline, ok := ctx.Deadline(); ok {
		timeout = C.int64_t(max(0, time.Until(deadline).Milliseconds()))
	}
	type result struct {
		net.Conn
		error
	}
	connected := make(chan result)
	go func() {
		conn, err := mesh.connect(host, uint16(port), timeout)
		select {
		case connected <- result{conn, err}:
		case <-ctx.Done(): // nobody waits any more
			if err == nil {
				conn.Close()
			}
		}
	}()
	select {
	case made := <-connected:
		return made.Conn, made.error
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

func (mesh *Mesh) connect(host string, port uint16, timeout C.int64_t) (net.Conn, error) {
	name := C.CString(host)
	defer C.free(unsafe.Pointer(name))
	var fd C.int32_t
	var failed *C.sidestep_error
	status := C.sidestep_connect(mesh.handle, name, C.uint16_t(port), C.SIDESTEP_HTTP1, timeout, &fd, &failed)
	if err := failure(status, failed); err != nil {
		return nil, err
	}
	// FileConn makes a copy of the descriptor.
	file := os.NewFile(uintptr(fd), host)
	defer file.Close()
	return net.FileConn(file)
}

// Close leaves the mesh.
func (mesh *Mesh) Close() { C.sidestep_mesh_free(mesh.handle) }

func run(arguments []string) error {
	if len(arguments) < 2 {
		return errors.New("usage: request VM-FILES [HOST PORT [PATH]]")
	}
	place := []string{"forecast.weather", "3002", "/"}
	copy(place, arguments[2:])
	url := "http://" + net.JoinHostPort(place[0], place[1]) + place[2]
	mesh, err := Join(arguments[1], 30*time.Second)
	if err != nil {
		return err
	}
	defer mesh.Close()
	client := http.Client{Transport: &http.Transport{DialContext: mesh.DialContext}}
	defer client.CloseIdleConnections()
	answer, err := client.Get(url)
	if err != nil {
		return err
	}
	defer answer.Body.Close()
	fmt.Println(answer.Status)
	_, err = io.Copy(os.Stdout, answer.Body)
	return err
}

func main() {
	if err := run(os.Args); err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}
