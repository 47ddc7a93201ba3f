#!/bin/sh
while sleep 60; do
    date
done
