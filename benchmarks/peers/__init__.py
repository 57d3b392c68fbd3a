"""Other engines, each behind one small interface, so that all of them run the same operation on the same arrays."""
import importlib

ENGINES = {  # name: the module here that holds its class Engine; minires comes first, as all ratios are to it
    "minires": "minires_engine",
    "PyTorch": "torch_engine",
    "PyTorch, channels last": "torch_channels_last_engine",
    "DeZero": "dezero_engine",
    "autograd": "autograd_engine",
    "SmallPebble": "smallpebble_engine",
    "MyGrad": "mygrad_engine",
}


def load_engines(names=None) -> tuple:
    """({name: Engine}, {name: why it is missing}) of the engines named, or of all; what fails to import is missing."""
    engines, missing = {}, {}
    for name in names or ENGINES:
        try:
            engines[name] = importlib.import_module(f"benchmarks.peers.{ENGINES[name]}").Engine()
        except Exception as error:  # a package of another time may fail in any way when it is imported
            missing[name] = f"{type(error).__name__}: {error}".splitlines()[0]
    return engines, missing
