#!/bin/sh
# Stand-in for Android's getprop: answers from /system/properties.
while IFS='=' read -r name value; do
    if [ "$name" = "$1" ]; then echo "$value"; exit 0; fi
done < /system/properties
echo
