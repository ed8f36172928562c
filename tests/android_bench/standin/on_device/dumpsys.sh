#!/bin/sh
# Stand-in for Android's dumpsys. Thermal: the first line of /data/standin/thermal, taken off while there are more.
case "$1" in
thermalservice)
    [ -f /data/standin/thermal ] || { echo "Can't find service: thermalservice"; exit 0; }
    read -r status < /data/standin/thermal
    if [ "$(wc -l < /data/standin/thermal)" -gt 1 ]; then sed -i 1d /data/standin/thermal; fi
    echo "IsStatusOverride: false"
    echo "ThermalEventListeners:"
    echo "Thermal Status: $status"
    echo "Cached temperatures:"
    echo "	Temperature{mValue=31.5, mType=3, mName=SKIN, mStatus=$status}"
    ;;
battery)
    echo "Current Battery Service state:"
    echo "  AC powered: false"
    echo "  USB powered: true"
    echo "  level: 87"
    echo "  temperature: 312"
    ;;
*) echo "Can't find service: $1"; exit 1 ;;
esac
