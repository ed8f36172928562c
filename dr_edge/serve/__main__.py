"""Serves a bundle: a web page that grades in the browser, and an HTTP API. Needs no TensorFlow.

  python -m dr_edge.serve --bundle=BUNDLE
  python -m dr_edge.serve --bundle=BUNDLE --allowed_hosts=screening.example.org    # behind nginx, for other computers

Then open http://127.0.0.1:8000/ ; the API is described at /docs:

  curl -F image=@eye.jpg http://127.0.0.1:8000/v1/predict

Nothing of a photograph is written: it is held in memory while it is graded. For other computers leave it on loopback
and put nginx in front, with a password and limits for slow clients: dr_edge/serve/nginx.conf. Browsers give camera and
offline use to https and localhost only.
"""

from __future__ import annotations

import contextlib

from absl import flags, logging

from dr_edge import command, cores, extras
from dr_edge.remote import bundle_flags

FLAGS = flags.FLAGS

bundle_flags.define(required=True)
flags.DEFINE_string("host", "127.0.0.1", "Address to listen on; 0.0.0.0 for every network that this computer is in.")
flags.DEFINE_integer("port", 8000, "Port to listen on.", 0, 65535)
flags.DEFINE_string(
    "artifact", None, "Variant or file name of the .tflite to use, for example static_int8; float32 if not given."
)
flags.DEFINE_string(
    "operating_point", None, "One of the bundle's operating points; sensitivity_90 if not given and there."
)
flags.DEFINE_float("min_quality", None, "Least quality that is graded; if not given, the bundle's (0.2).", 0.0, 1.0)
flags.DEFINE_integer("workers", None, "Processes that grade; as many as it may use cores if not given.", lower_bound=1)
flags.DEFINE_integer("queue", 32, "Uploads that may wait; more are answered 503.", lower_bound=0)
flags.DEFINE_integer("max_upload_mb", 32, "Largest upload in MiB.", lower_bound=1)
flags.DEFINE_integer("max_megapixels", 60, "Larger photographs are refused undecoded.", lower_bound=1)
flags.DEFINE_list(
    "allowed_hosts",
    [],
    "Further names that this server is called by, as through a proxy; on loopback others are refused. *.NAME for all "
    "below one, * for any.",
)
flags.DEFINE_string("tls_certificate", None, "PEM file; with --tls_key the server speaks https.")
flags.DEFINE_string("tls_key", None, "PEM file.")


def main(argv: list[str]) -> int:
    """Serves until it is told to stop; returns the exit status."""
    if len(argv) > 1:
        raise command.unexpected(argv[1:])
    extras.require("serve")
    import uvicorn

    from dr_edge.prediction.bundle import open_bundle
    from dr_edge.prediction.model import Model
    from dr_edge.remote import bundles
    from dr_edge.serve import startup, vendor
    from dr_edge.serve.app import create_app
    from dr_edge.serve.settings import Settings

    if (FLAGS.tls_certificate is None) != (FLAGS.tls_key is None):
        raise ValueError("--tls_certificate and --tls_key go together.")
    upload = FLAGS.max_upload_mb << 20
    settings = Settings(
        workers=FLAGS.workers or cores.available(),
        queue=FLAGS.queue,
        max_upload_bytes=upload,
        max_buffered_bytes=max(Settings.max_buffered_bytes, 2 * upload),
        max_pixels=FLAGS.max_megapixels * 1_000_000,
        allowed_hosts=startup.allowed_hosts(FLAGS.host, FLAGS.allowed_hosts),
    )
    listening = startup.listen(FLAGS.host, FLAGS.port)
    directory = bundles.local_directory(FLAGS.bundle, FLAGS.bundle_sha256, FLAGS.require_signature)
    bundle = open_bundle(directory, FLAGS.artifact, FLAGS.operating_point, FLAGS.min_quality, FLAGS.require_signature)
    Model(bundle)  # what LiteRT cannot read is said here, and not by each worker
    application = create_app(bundle, settings)
    config = startup.uvicorn_config(application, settings, FLAGS.tls_certificate, FLAGS.tls_key)
    if vendor.problems():
        logging.warning("The page cannot grade in the browser yet: run `python -m dr_edge.serve.vendor` once.")
    if not startup.is_loopback(FLAGS.host):
        logging.warning("%s", startup.exposed(FLAGS.host, config.is_ssl))
    if startup.ANY not in settings.allowed_hosts:
        logging.info("It answers to %s; --allowed_hosts=NAME adds a name.", ", ".join(settings.allowed_hosts))
    server = uvicorn.Server(config)
    address = startup.url(FLAGS.host, listening[0].getsockname()[1], config.is_ssl)
    logging.info("The page is at %s (Ctrl-C ends the server).", address)
    with contextlib.suppress(KeyboardInterrupt):  # uvicorn raises it again, after everything was shut down
        server.run(sockets=listening)
    return 0 if server.started else 1


if __name__ == "__main__":
    command.run(main)
