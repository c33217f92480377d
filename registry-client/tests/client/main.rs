//! The client against registries on loopback: a real one behind a tap that injects faults, and scripted ones that answer
//! what no good registry would.

#[cfg(test)]
mod auth;
#[cfg(test)]
mod connector;
#[cfg(test)]
mod content;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod manifests;
#[cfg(test)]
mod proxy;
#[cfg(test)]
mod pull;
#[cfg(test)]
mod push;
#[cfg(test)]
mod pushing;
#[cfg(test)]
mod redirect;
#[cfg(test)]
mod remote;
#[cfg(test)]
mod retry;
#[cfg(test)]
mod support;
#[cfg(test)]
mod tls;
#[cfg(test)]
mod upload;
